package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"berth/assets"
	"berth/backend/home"
)

// embeddedAgent unpacks the agent that a release build carries for a system. It is unpacked once for
// each build of this program.
func embeddedAgent(h home.Home) func(context.Context, string, string) (string, bool, error) {
	return func(_ context.Context, goos, goarch string) (string, bool, error) {
		packed, ok := assets.Agent(goos, goarch)
		if !ok {
			return "", false, nil
		}
		self, err := h.Program("berth")
		if err != nil {
			return "", false, err
		}
		// Beside the copy of this program: its folder is named by its content.
		path := filepath.Join(filepath.Dir(self), goos+"-"+goarch, "berth-agent")
		if _, err := os.Stat(path); err == nil {
			return path, true, nil
		}
		dec, err := zstd.NewReader(bytes.NewReader(packed))
		if err != nil {
			return "", false, fmt.Errorf("unpacking the agent: %w", err)
		}
		defer dec.Close()
		var b bytes.Buffer
		if _, err := b.ReadFrom(dec); err != nil {
			return "", false, fmt.Errorf("unpacking the agent: %w", err)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return "", false, fmt.Errorf("unpacking the agent: %w", err)
		}
		tmp, err := os.CreateTemp(filepath.Dir(path), ".unpack-")
		if err != nil {
			return "", false, fmt.Errorf("unpacking the agent: %w", err)
		}
		defer os.Remove(tmp.Name()) // fails after the rename, as it should
		_, err = tmp.Write(b.Bytes())
		if err == nil {
			err = tmp.Chmod(0o755)
		}
		if cerr := tmp.Close(); err == nil {
			err = cerr
		}
		if err == nil {
			err = os.Rename(tmp.Name(), path)
		}
		if err != nil {
			return "", false, fmt.Errorf("unpacking the agent: %w", err)
		}
		return path, true, nil
	}
}

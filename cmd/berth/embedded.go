//go:build !front

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/klauspost/compress/zstd"

	"berth/assets"
	"berth/backend/base/paths"
)

// embeddedAgent unpacks the agent that a release build carries for a system. It is unpacked once for
// each build of this program.
func embeddedAgent(h paths.Home) func(context.Context, string, string) (string, bool, error) {
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
		if err := unpack(packed, path); err != nil {
			return "", false, fmt.Errorf("unpacking the agent: %w", err)
		}
		return path, true, nil
	}
}

// unpack writes a compressed program to path, whole or not at all.
func unpack(packed []byte, path string) error {
	dec, err := zstd.NewReader(nil)
	if err != nil {
		return err
	}
	defer dec.Close()
	program, err := dec.DecodeAll(packed, nil)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return renameio.WriteFile(path, program, 0o755, renameio.WithStaticPermissions(0o755))
}

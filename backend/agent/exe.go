package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"berth/backend/agent/durable"
)

// Command is the command line that makes the program exe play a part of the agent: the small main
// takes the subcommand itself, any other binary of Berth after the word agent.
func Command(exe string, sub ...string) []string {
	if strings.HasPrefix(filepath.Base(exe), "berth-agent") {
		return append([]string{exe}, sub...)
	}
	return append([]string{exe, "agent"}, sub...)
}

// CopySelf copies the program exe to binDir/<sha256>/<its name> unless it is there or is that copy,
// and returns the copy's path: what runs for long must not be the file that an upgrade, or `go run`,
// replaces or deletes. The time of writing is kept, since development builds are ordered by it.
func CopySelf(exe, binDir string) (string, error) {
	if contentAddressed(exe) != "" {
		return exe, nil
	}
	src, err := os.Open(exe)
	if err != nil {
		return "", fmt.Errorf("copying this program: %w", err)
	}
	defer src.Close()
	fi, err := src.Stat()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	if _, err := io.Copy(h, src); err != nil {
		return "", fmt.Errorf("reading %s: %w", exe, err)
	}
	dir := filepath.Join(binDir, hex.EncodeToString(h.Sum(nil)))
	dst := filepath.Join(dir, filepath.Base(exe))
	if old, err := os.Stat(dst); err == nil && old.Size() == fi.Size() {
		return dst, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("copying this program: %w", err)
	}
	tmp, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return "", fmt.Errorf("copying this program: %w", err)
	}
	defer os.Remove(tmp.Name())
	if _, err = src.Seek(0, io.SeekStart); err == nil {
		_, err = io.Copy(tmp, src)
	}
	if err == nil {
		err = tmp.Chmod(0o700)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chtimes(tmp.Name(), fi.ModTime(), fi.ModTime())
	}
	if err == nil {
		err = os.Rename(tmp.Name(), dst)
	}
	if err != nil {
		return "", fmt.Errorf("copying this program to %s: %w", dst, err)
	}
	return dst, durable.SyncDir(dir)
}

// contentAddressed returns the hash in the path of a content-addressed copy, or "".
func contentAddressed(exe string) string {
	h := filepath.Base(filepath.Dir(exe))
	if len(h) != 2*sha256.Size {
		return ""
	}
	if _, err := hex.DecodeString(h); err != nil {
		return ""
	}
	return h
}

// hashOf is the SHA-256 of a program, from its path where that tells.
func hashOf(exe string) string {
	if h := contentAddressed(exe); h != "" {
		return h
	}
	f, err := os.Open(exe)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ownHash is the SHA-256 of this program, or "".
func ownHash() string {
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	return hashOf(exe)
}

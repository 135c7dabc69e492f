package home

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"
)

// Program returns the path of a copy of the running executable that no upgrade and no `go run`
// deletes: <bin>/<sha256>/NAME. It makes the copy if there is none.
func (h Home) Program(name string) (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program's file: %w", err)
	}
	if strings.HasPrefix(exe, h.Bin()+string(filepath.Separator)) {
		return exe, nil
	}
	fi, err := os.Stat(exe)
	if err != nil {
		return "", fmt.Errorf("finding this program's file: %w", err)
	}
	// The hash of an unchanged file is remembered: reading 30 MB at each start would be felt.
	note := filepath.Join(h.Bin(), "seen-"+identity(exe, fi))
	if b, err := os.ReadFile(note); err == nil {
		path := filepath.Join(h.Bin(), string(b), name)
		if c, err := os.Stat(path); err == nil && c.Size() == fi.Size() {
			return path, nil
		}
	}
	sum, err := hashFile(exe)
	if err != nil {
		return "", fmt.Errorf("reading this program's file: %w", err)
	}
	path := filepath.Join(h.Bin(), sum, name)
	if err := copyProgram(exe, path, fi); err != nil {
		return "", fmt.Errorf("keeping a copy of this program under %s: %w", h.Bin(), err)
	}
	// Only a shortcut: without the note the file is hashed again.
	_ = os.WriteFile(note, []byte(sum), 0o600)
	return path, nil
}

// identity is a short hash of what changes when a file is replaced or written.
func identity(path string, fi os.FileInfo) string {
	ino := uint64(0)
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		ino = uint64(st.Ino)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d %d", path, fi.Size(), fi.ModTime().UnixNano(), ino))
	return hex.EncodeToString(sum[:8])
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func copyProgram(from, to string, fi os.FileInfo) error {
	if c, err := os.Stat(to); err == nil && c.Size() == fi.Size() {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	// No fsync: a copy lost to a power cut is made again, and its size is checked before use.
	t, err := os.CreateTemp(filepath.Dir(to), ".copy-")
	if err != nil {
		return err
	}
	defer os.Remove(t.Name()) // fails after the rename, as it should
	_, err = io.Copy(t, src)
	if err == nil {
		err = t.Chmod(0o755)
	}
	if cerr := t.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		// The build's time tells which of two development builds is newer.
		err = os.Chtimes(t.Name(), fi.ModTime(), fi.ModTime())
	}
	if err != nil {
		return err
	}
	return os.Rename(t.Name(), to)
}

// WriteFile writes a small file durably and atomically.
func WriteFile(path string, b []byte) error { return renameio.WriteFile(path, b, 0o600) }

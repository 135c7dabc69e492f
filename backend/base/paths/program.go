package paths

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Program returns the path of a copy of the running executable that no upgrade and no `go run`
// deletes: <bin>/<sha256>/NAME. It makes the copy if there is none.
func (h Home) Program(name string) (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program's file: %w", err)
	}
	if ContentHash(exe) != "" {
		return exe, nil
	}
	fi, err := os.Stat(exe)
	if errors.Is(err, fs.ErrNotExist) {
		// An upgrade, or the end of a `go run`, deleted the file; on Linux the process still has it.
		if self, serr := os.Stat("/proc/self/exe"); serr == nil {
			exe, fi, err = "/proc/self/exe", self, nil
		}
	}
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
	path, err := CopyProgram(exe, h.Bin(), name)
	if err != nil {
		return "", err
	}
	// Only a shortcut: without the note the file is hashed again.
	_ = os.WriteFile(note, []byte(ContentHash(path)), 0o600)
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

// CopyProgram copies the program exe to bin/<sha256>/name unless it is there, or exe is such a copy
// itself, and returns the copy's path: what runs for long must not be a file that an upgrade replaces.
// The time of writing is kept, since development builds are ordered by it.
func CopyProgram(exe, bin, name string) (string, error) {
	if ContentHash(exe) != "" {
		return exe, nil
	}
	failed := func(err error) (string, error) {
		return "", fmt.Errorf("keeping a copy of the program %s under %s: %w", exe, bin, err)
	}
	src, err := os.Open(exe)
	if err != nil {
		return failed(err)
	}
	defer src.Close()
	fi, err := src.Stat()
	if err != nil {
		return failed(err)
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, src); err != nil {
		return failed(err)
	}
	to := filepath.Join(bin, hex.EncodeToString(hash.Sum(nil)), name)
	if c, err := os.Stat(to); err == nil && c.Size() == fi.Size() {
		return to, nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return failed(err)
	}
	// Not synced: a copy that a power cut shortened is seen by its size and made again.
	tmp, err := os.CreateTemp(filepath.Dir(to), ".copy-")
	if err != nil {
		return failed(err)
	}
	defer os.Remove(tmp.Name()) // fails after the rename, as it should
	if _, err = src.Seek(0, io.SeekStart); err == nil {
		_, err = io.Copy(tmp, src)
	}
	if err == nil {
		err = tmp.Chmod(0o755)
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chtimes(tmp.Name(), fi.ModTime(), fi.ModTime())
	}
	if err == nil {
		err = os.Rename(tmp.Name(), to)
	}
	if err != nil {
		return failed(err)
	}
	return to, nil
}

// ContentHash returns the SHA-256 in the path of a copy that CopyProgram made, or "".
func ContentHash(path string) string {
	h := filepath.Base(filepath.Dir(path))
	if len(h) != 2*sha256.Size {
		return ""
	}
	if _, err := hex.DecodeString(h); err != nil {
		return ""
	}
	return h
}

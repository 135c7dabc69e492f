package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// shimCommand is the command line of a terminal's shim: the small embedded one where this build has
// one, else this program in that part.
func (a *Agent) shimCommand(id string) []string {
	if path := a.smallShim(); path != "" {
		return []string{path, id}
	}
	return Command(a.exe, "shim", id)
}

// findSmallShim writes the embedded shim out and returns its path; "" where there is none or it
// can't be run.
func (a *Agent) findSmallShim() string {
	if len(embeddedShim) == 0 {
		return ""
	}
	path, err := unpackShim(embeddedShim, a.o.binDir())
	debug.FreeOSMemory() // once: unpacking took more than all the rest does
	if err != nil {
		a.log.Warn("the small shim can't be used, this program plays its part", "err", err)
		return ""
	}
	return path
}

// maxShim bounds an unpacked shim, in bytes.
const maxShim = 64 << 20

// unpackShim puts a zstd-compressed shim into a content-addressed folder below bin, unless it is there.
func unpackShim(packed []byte, bin string) (string, error) {
	z, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return "", fmt.Errorf("unpacking the shim: %w", err)
	}
	defer z.Close()
	if err := os.MkdirAll(bin, 0o700); err != nil {
		return "", err
	}
	tmp, err := os.CreateTemp(bin, ".shim-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp.Name())
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(tmp, h), io.LimitReader(z, maxShim))
	if err == nil && n == maxShim {
		err = errors.New("it is too large")
	}
	if err == nil {
		err = errors.Join(tmp.Chmod(0o700), tmp.Sync())
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return "", fmt.Errorf("unpacking the shim: %w", err)
	}
	dir := filepath.Join(bin, hex.EncodeToString(h.Sum(nil)))
	path := filepath.Join(dir, "berth-shim")
	if fi, err := os.Stat(path); err != nil || fi.Size() != n {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", err
		}
		if err := os.Rename(tmp.Name(), path); err != nil {
			return "", err
		}
	}
	// A file system that forbids programs says so here.
	if err := unix.Access(path, unix.X_OK); err != nil {
		return "", fmt.Errorf("%s can't be run: %w", path, err)
	}
	return path, nil
}

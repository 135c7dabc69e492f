package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

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
	z, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxShim))
	if err != nil {
		return "", fmt.Errorf("unpacking the shim: %w", err)
	}
	defer z.Close()
	b, err := io.ReadAll(io.LimitReader(z, maxShim))
	if err != nil {
		return "", fmt.Errorf("unpacking the shim: %w", err)
	}
	sum := sha256.Sum256(b)
	dir := filepath.Join(bin, hex.EncodeToString(sum[:]))
	path := filepath.Join(dir, "berth-shim")
	if fi, err := os.Stat(path); err != nil || fi.Size() != int64(len(b)) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", err
		}
		if err := writeFile(path, b); err != nil {
			return "", err
		}
		if err := os.Chmod(path, 0o700); err != nil {
			return "", err
		}
	}
	// A file system that forbids programs says so here.
	if err := unix.Access(path, unix.X_OK); err != nil {
		return "", fmt.Errorf("%s can't be run: %w", path, err)
	}
	return path, nil
}

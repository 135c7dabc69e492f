// Package packed unpacks the small programs that other programs carry, compressed by assets/compress.
package packed

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// maxProgram bounds an unpacked program, in bytes.
const maxProgram = 64 << 20

// Unpack puts a zstd-compressed program under a name into a content-addressed folder below bin (of this user
// alone), unless it is there whole, and returns its path. What is there is whole at every moment.
func Unpack(r io.Reader, bin, name string) (string, error) {
	failed := func(err error) (string, error) {
		return "", fmt.Errorf("unpacking %s into %s: %w", name, bin, err)
	}
	if err := os.MkdirAll(bin, 0o700); err != nil {
		return failed(err)
	}
	tmp, err := os.CreateTemp(bin, "."+name+"-*")
	if err != nil {
		return failed(err)
	}
	defer os.Remove(tmp.Name())
	h := sha256.New()
	n, err := Write(io.MultiWriter(tmp, h), r)
	if err == nil {
		err = errors.Join(tmp.Chmod(0o700), tmp.Sync())
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return failed(err)
	}
	dir := filepath.Join(bin, hex.EncodeToString(h.Sum(nil)))
	path := filepath.Join(dir, name)
	if fi, err := os.Stat(path); err == nil && fi.Size() == n {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return failed(err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return failed(err)
	}
	return path, nil
}

// Write writes a zstd-compressed program to w, and returns its size in bytes.
func Write(w io.Writer, r io.Reader) (int64, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return 0, err
	}
	defer z.Close()
	n, err := io.Copy(w, io.LimitReader(z, maxProgram))
	if err == nil && n == maxProgram {
		err = errors.New("it is too large")
	}
	return n, err
}

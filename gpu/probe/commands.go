package probe

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/klauspost/compress/zstd"

	"berth/gpu/probe/embedded"
)

// CommandVariable names the environment variable with the path of a probe, which is then the only one.
const CommandVariable = "BERTH_PROBE"

// Commands are the command lines for Options (as Find, so that nothing is unpacked where there is no driver): the small programs that this build carries (unpacked into bin, a
// folder of this user), one that lies beside exe, and last this program itself in that part (self). The
// error says what can't be used; what can is returned with it.
func Commands(self []string, exe, bin string) ([][]string, error) {
	if p := os.Getenv(CommandVariable); p != "" {
		return [][]string{{p}}, nil
	}
	var out [][]string
	packed, err := embedded.Programs()
	if len(packed) > 0 {
		defer debug.FreeOSMemory() // unpacking takes more than all the rest does
	}
	for _, f := range packed {
		path, uerr := unpack(f, bin)
		f.Close()
		if uerr != nil {
			err = errors.Join(err, uerr)
			continue
		}
		out = append(out, []string{path})
	}
	beside := filepath.Join(filepath.Dir(exe), "berth-probe")
	if fi, serr := os.Stat(beside); exe != "" && serr == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
		out = append(out, []string{beside})
	}
	if len(self) > 0 {
		out = append(out, self)
	}
	return out, err
}

// maxProgram bounds an unpacked probe, in bytes.
const maxProgram = 64 << 20

// unpack puts a zstd-compressed program into a content-addressed folder below bin, unless it is there.
func unpack(packed io.Reader, bin string) (string, error) {
	failed := func(err error) (string, error) {
		return "", fmt.Errorf("unpacking the GPU probe into %s: %w", bin, err)
	}
	z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return failed(err)
	}
	defer z.Close()
	if err := os.MkdirAll(bin, 0o700); err != nil {
		return failed(err)
	}
	tmp, err := os.CreateTemp(bin, ".probe-*")
	if err != nil {
		return failed(err)
	}
	defer os.Remove(tmp.Name())
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(tmp, h), io.LimitReader(z, maxProgram))
	if err == nil && n == maxProgram {
		err = errors.New("it is too large")
	}
	if err == nil {
		err = errors.Join(tmp.Chmod(0o700), tmp.Sync())
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return failed(err)
	}
	dir := filepath.Join(bin, hex.EncodeToString(h.Sum(nil)))
	path := filepath.Join(dir, "berth-probe")
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

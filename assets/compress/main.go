// Command compress writes a zstd-compressed copy of a file; the Makefile uses it for the agents that
// release builds carry. Its arguments are the file, the copy, and where the file's SHA-256 and size are to stand, if
// anywhere.
package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

func main() {
	if err := compress(os.Args[1], os.Args[2], os.Args[3:]...); err != nil {
		fmt.Fprintln(os.Stderr, "compress:", err)
		os.Exit(1)
	}
}

func compress(from, to string, sums ...string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	for _, path := range sums {
		if err := os.WriteFile(path, fmt.Appendf(nil, "%x %d\n", sha256.Sum256(b), len(b)), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(to, enc.EncodeAll(b, nil), 0o644)
}

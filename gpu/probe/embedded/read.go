//go:build embedprobe && linux && (amd64 || arm64)

package embedded

import (
	"embed"
)

// read returns the files; the one with NVIDIA's bindings, where this build has it, stands first.
func read(files embed.FS) ([][]byte, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	// In the order of names: that with NVIDIA's bindings first.
	var out [][]byte
	for _, e := range entries {
		b, err := files.ReadFile(e.Name())
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

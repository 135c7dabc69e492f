//go:build embedprobe && linux && (amd64 || arm64)

package embedded

import (
	"embed"
	"io"
)

// open opens the files in the order of their names: that with NVIDIA's bindings, where this build has it, first. They
// are read from where they lie in the program.
func open(files embed.FS) ([]io.ReadCloser, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var out []io.ReadCloser
	for _, e := range entries {
		f, err := files.Open(e.Name())
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

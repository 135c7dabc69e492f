//go:build !embedprobe || !linux || !(amd64 || arm64)

package embedded

import "io"

// Programs are the packed probes for this architecture, best first.
func Programs() ([]io.ReadCloser, error) { return nil, nil }

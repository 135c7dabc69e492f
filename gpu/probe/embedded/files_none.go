//go:build !embedprobe || !linux || !(amd64 || arm64)

package embedded

// Programs are the packed probes for this architecture, best first.
func Programs() ([][]byte, error) { return nil, nil }

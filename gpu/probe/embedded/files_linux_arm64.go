//go:build embedprobe

package embedded

import (
	"embed"
	"io"
)

//go:embed berth-probe-*-linux-arm64.zst
var files embed.FS

// Programs are the packed probes for this architecture, best first.
func Programs() ([]io.ReadCloser, error) { return open(files) }

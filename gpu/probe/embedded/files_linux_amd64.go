//go:build embedprobe

package embedded

import "embed"

//go:embed berth-probe-*-linux-amd64.zst
var files embed.FS

// Programs are the packed probes for this architecture, best first.
func Programs() ([][]byte, error) { return read(files) }

//go:build embedshim

package agent

import _ "embed"

// embeddedShim is cmd/berth-shim for this architecture, compressed; `make agents` puts it there.
//
//go:embed embedded/berth-shim-linux-arm64.zst
var embeddedShim []byte

//go:build embedshim

package embedded

import _ "embed"

// shim is cmd/berth-shim for this architecture, compressed; `make agents` puts it there.
//
//go:embed berth-shim-linux-arm64.zst
var shim []byte

//go:build embedshim

package agent

import _ "embed"

// embeddedShimGz is cmd/berth-shim for this OS and architecture, put there by the Makefile.
//
//go:embed embedded/berth-shim.gz
var embeddedShimGz []byte

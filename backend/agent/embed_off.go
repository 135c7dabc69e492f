//go:build !embedshim

package agent

// embeddedShimGz is empty in development builds: this program plays the shim itself.
var embeddedShimGz []byte

//go:build !embedshim || !linux || !(amd64 || arm64)

package agent

// embeddedShim is empty in development builds: this program plays the shim itself.
var embeddedShim []byte

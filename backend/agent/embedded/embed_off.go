//go:build !embedshim || !linux || !(amd64 || arm64)

package embedded

// shim is empty in development builds: this program plays the shim itself.
var shim []byte

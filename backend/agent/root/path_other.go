//go:build !linux

package root

// ScriptPath is the name by which a script that root runs reads itself.
const ScriptPath = "/dev/fd/3"

//go:build front

package whole

import _ "embed"

// Packed is the whole program for this system, compressed with zstd. `make build` puts it there.
//
//go:embed berth.zst
var Packed []byte

// Sum is the SHA-256 of the program, in hexadecimal, a blank and its size in bytes.
//
//go:embed berth.sum
var Sum string

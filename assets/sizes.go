package assets

import "embed"

//go:embed sizes/*.toml
var sizesFS embed.FS

// Sizes is the catalogue of a backend's sizes, as TOML: tables [[size]].
func Sizes(backend string) ([]byte, bool) {
	b, err := sizesFS.ReadFile("sizes/" + backend + ".toml")
	return b, err == nil
}

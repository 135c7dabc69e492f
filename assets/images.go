package assets

import _ "embed"

// Images is the catalogue of images that machines can be made from, in the format of package image.
//
//go:embed images.toml
var Images []byte

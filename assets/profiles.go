package assets

import (
	"embed"
	"io/fs"
)

//go:embed profiles/*.toml profiles/prelude.sh
var profilesFS embed.FS

// Profiles are the built-in set-up profiles: NAME.toml each, and prelude.sh, the functions that their
// scripts use.
func Profiles() fs.FS {
	sub, _ := fs.Sub(profilesFS, "profiles") // embedded: it can't fail
	return sub
}

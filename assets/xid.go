package assets

import _ "embed"

// XIDs is what the error numbers of the NVIDIA driver mean, as TOML: tables [[xid]].
//
//go:embed xid.toml
var XIDs []byte

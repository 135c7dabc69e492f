package assets

import _ "embed"

//go:embed attention.toml
var attentionRules []byte

// Attention returns the rules of what wants somebody's attention (attention.toml).
func Attention() []byte { return attentionRules }

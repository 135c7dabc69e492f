package assets

import "embed"

//go:embed cloud-init/*.tmpl
var cloudInitFS embed.FS

// CloudInit returns a cloud-init template by name: "user-data" or "meta-data".
func CloudInit(name string) (string, bool) {
	b, err := cloudInitFS.ReadFile("cloud-init/" + name + ".tmpl")
	return string(b), err == nil
}

package assets

import "embed"

//go:embed cloud-init/*.tmpl
var cloudInitFS embed.FS

// CloudInit returns a template of the first boot's data by name: "user-data", "meta-data" or "berth-agent.sh".
func CloudInit(name string) (string, bool) {
	b, err := cloudInitFS.ReadFile("cloud-init/" + name + ".tmpl")
	return string(b), err == nil
}

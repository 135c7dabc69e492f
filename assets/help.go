package assets

import (
	"embed"
	"slices"
	"strings"
)

//go:embed help/*.md
var helpFS embed.FS

// order is how the help pages follow each other; pages that are not named come last.
var order = []string{"start", "fleet", "instance", "create", "machines", "profiles", "inventory", "adopt", "shell",
	"top", "attention", "events", "commands", "jobs", "containers", "forward", "screen", "safety", "workspace", "config", "exit-codes"}

// HelpTopics names the help pages in reading order.
func HelpTopics() []string {
	entries, _ := helpFS.ReadDir("help") // embedded: it can't fail
	var out []string
	for _, e := range entries {
		out = append(out, strings.TrimSuffix(e.Name(), ".md"))
	}
	rank := func(s string) int {
		if i := slices.Index(order, s); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortStableFunc(out, func(a, b string) int { return rank(a) - rank(b) })
	return out
}

// HelpPage returns a help page by topic: Markdown with headings, paragraphs, lists, `code` and
// indented lines, at most 92 columns wide when shown.
func HelpPage(topic string) (string, bool) {
	b, err := helpFS.ReadFile("help/" + topic + ".md")
	return string(b), err == nil
}

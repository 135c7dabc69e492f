package text

import "github.com/charmbracelet/x/ansi"

// Distinct cuts clean texts to at most w cells so that no two which differ read the same, where that can be: by their
// end, which tells paths apart, else by their beginning, else by both.
func Distinct(all []string, w int, tail string) []string {
	var out []string
	for _, cut := range []func(string) string{
		func(s string) string { return tail + ansi.TruncateLeft(s, Width(s)-w+Width(tail), "") },
		func(s string) string { return Truncate(s, w, tail) },
		func(s string) string {
			half := max(0, w-Width(tail)) / 2
			return Truncate(s, half, "") + tail + ansi.TruncateLeft(s, Width(s)-(w-Width(tail)-half), "")
		},
	} {
		seen := map[string]string{}
		out = out[:0]
		same := false
		for _, s := range all {
			short := s
			if Width(s) > w {
				short = Truncate(cut(s), w, "")
			}
			was, there := seen[short]
			same = same || there && was != s
			seen[short] = s
			out = append(out, short)
		}
		if !same {
			return out
		}
	}
	return out
}

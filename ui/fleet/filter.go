package fleet

import (
	"strings"

	"berth/ui/data"
)

// filter is what rows must match: words that all occur, "~" before letters that occur in this order
// in the name, "!" before what must not occur.
type filter struct {
	words  []string
	fuzzy  string
	invert bool
}

func parseFilter(s string) filter {
	var f filter
	s = strings.ToLower(strings.TrimSpace(s))
	if rest, ok := strings.CutPrefix(s, "!"); ok {
		f.invert, s = true, strings.TrimSpace(rest)
	}
	if rest, ok := strings.CutPrefix(s, "~"); ok {
		f.fuzzy = strings.ReplaceAll(rest, " ", "")
		return f
	}
	f.words = strings.Fields(s)
	return f
}

func (f filter) empty() bool { return f.fuzzy == "" && len(f.words) == 0 }

func (f filter) match(r *data.Row) bool {
	if f.empty() {
		return true
	}
	return f.hit(r) != f.invert
}

func (f filter) hit(r *data.Row) bool {
	if f.fuzzy != "" {
		rest := []rune(f.fuzzy)
		for _, c := range strings.ToLower(r.Name) {
			if c == rest[0] {
				if rest = rest[1:]; len(rest) == 0 {
					return true
				}
			}
		}
		return false
	}
	hay := r.Haystack()
	for _, w := range f.words {
		if !strings.Contains(hay, w) {
			return false
		}
	}
	return true
}

func (f *Fleet) passes(r *data.Row) bool {
	return (!f.mine || r.Mine) && f.filter.match(r)
}

package gpu

import (
	"strconv"
	"strings"
)

// Words reads a search line: words that must all occur, and, with "!" before it, a word that must not occur, without
// regard to case. It returns nil where nothing is asked for: everything matches.
func Words(query string) func(hay string) bool {
	var has, not []string
	for w := range strings.FieldsSeq(strings.ToLower(query)) {
		switch rest, negated := strings.CutPrefix(w, "!"); {
		case !negated:
			has = append(has, w)
		case rest != "":
			not = append(not, rest)
		}
	}
	if len(has)+len(not) == 0 {
		return nil
	}
	return func(hay string) bool {
		hay = strings.ToLower(hay)
		for _, w := range has {
			if !strings.Contains(hay, w) {
				return false
			}
		}
		for _, w := range not {
			if strings.Contains(hay, w) {
				return false
			}
		}
		return true
	}
}

// ProcessFilter is Words over what is shown of a process: its PID, user, command, state and owner.
func ProcessFilter(query string) func(*Process) bool {
	match := Words(query)
	if match == nil {
		return nil
	}
	return func(p *Process) bool {
		return match(strconv.Itoa(p.PID) + " " + p.User + " " + p.Command + " " + p.State + " " + p.Owner.Kind + " " +
			p.Owner.Name + " " + p.Owner.ID)
	}
}

package gpu

import (
	"strconv"
	"strings"
)

// Words reads a search line: words that must all occur, or, with "!" before them, must not all occur, without
// regard to case. It returns nil where nothing is asked for: everything matches.
func Words(query string) func(hay string) bool {
	q, not := strings.CutPrefix(strings.ToLower(strings.TrimSpace(query)), "!")
	words := strings.Fields(q)
	if len(words) == 0 {
		return nil
	}
	return func(hay string) bool {
		hay = strings.ToLower(hay)
		for _, w := range words {
			if !strings.Contains(hay, w) {
				return not
			}
		}
		return !not
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

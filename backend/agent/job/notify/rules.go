package notify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"berth/backend/api"
	"berth/queue"
)

// Rule is of which ends somebody is told, whatever the job says. An empty condition is met by each.
type Rule struct {
	Notify     []string      // names of hooks
	States     []queue.State // of the end
	LongerThan time.Duration // the last run took
	Group      string
	Name       string // a pattern: * stands for any characters, ? for one
}

// maxRules bounds the rules of a file.
const maxRules = 100

// ends are the states that a rule can name.
var ends = []queue.State{queue.Succeeded, queue.Failed, queue.Cancelled, queue.TimedOut, queue.Lost}

// readRules reads the rules, each for itself. wrong says of each that can't be used why, and nothing that stands there
// but names.
func readRules(v any, hooks Hooks) (rules []Rule, wrong []string) {
	list, ok := v.([]any)
	switch {
	case v == nil:
		return nil, nil
	case !ok:
		return nil, []string{"rules: each is a table that begins with [[rules]]"}
	case len(list) > maxRules:
		wrong = append(wrong, fmt.Sprintf("rules after number %d are not looked at", maxRules))
		list = list[:maxRules]
	}
	for i, v := range list {
		r, err := readRule(v)
		for _, n := range r.Notify {
			if _, ok := hooks[n]; err == nil && !ok {
				err = fmt.Errorf("notify: there is no [notify.%.40s] in the file", orName(n))
			}
		}
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("rule %d: %v", i+1, err))
			continue
		}
		rules = append(rules, r)
	}
	return rules, wrong
}

func readRule(v any) (r Rule, err error) {
	m, ok := v.(map[string]any)
	if !ok {
		return r, fmt.Errorf("it is no table that begins with [[rules]]")
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		var words []string
		ok := true
		switch key {
		case "notify":
			r.Notify, ok = texts(m[key])
		case "states", "state":
			words, ok = texts(m[key])
			for _, w := range words {
				if !slices.Contains(ends, queue.State(w)) {
					return r, fmt.Errorf("%s: a job ends as one of %v", key, ends)
				}
				r.States = append(r.States, queue.State(w))
			}
		case "longer_than":
			s, _ := m[key].(string)
			if r.LongerThan, err = time.ParseDuration(s); err != nil || r.LongerThan <= 0 {
				return r, fmt.Errorf("%s: a time is needed: \"10m\", \"1h30m\"", key)
			}
		case "group":
			r.Group, ok = m[key].(string)
		case "name":
			r.Name, ok = m[key].(string)
		default:
			return r, fmt.Errorf("it can't have %.40q: only notify, states, longer_than, group and name", key)
		}
		if !ok {
			return r, fmt.Errorf("%s: a text in quotes is needed", key)
		}
	}
	if len(r.Notify) == 0 {
		return r, fmt.Errorf("it does not say notify = \"NAME\", whom to tell")
	}
	return r, nil
}

// texts reads a text, or a list of some.
func texts(v any) (out []string, ok bool) {
	if s, ok := v.(string); ok {
		return []string{s}, true
	}
	list, ok := v.([]any)
	for _, x := range list {
		s, text := x.(string)
		out, ok = append(out, s), ok && text
	}
	return out, ok && len(out) > 0
}

// Whom are those whom the rules have told of a job's end, once each.
func (f *File) Whom(j *api.Job) (names []string) {
	for i := range f.Rules {
		if !f.Rules[i].meets(j) {
			continue
		}
		for _, n := range f.Rules[i].Notify {
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	return names
}

func (r *Rule) meets(j *api.Job) bool {
	return (len(r.States) == 0 || slices.Contains(r.States, queue.State(j.State))) &&
		(r.LongerThan == 0 || ran(j) >= r.LongerThan) &&
		(r.Group == "" || r.Group == j.Group) &&
		(r.Name == "" || like(r.Name, j.Name))
}

// ran is how long a job's last run took. Of an array it is the time since it was submitted: it has no run of its own.
func ran(j *api.Job) time.Duration {
	from := j.StartedAt
	if j.Elements != nil && from.IsZero() {
		from = j.SubmittedAt
	}
	if from.IsZero() {
		return 0
	}
	return j.EndedAt.Sub(from)
}

// like reports whether s is as a pattern says: * stands for any characters, ? for one.
func like(pattern, s string) bool {
	p, t := []rune(pattern), []rune(s)
	star, from := -1, 0 // the last *, and what follows the characters that it stands for
	i, k := 0, 0
	for k < len(t) {
		switch {
		case i < len(p) && p[i] == '*':
			star, from = i, k
			i++
		case i < len(p) && (p[i] == '?' || p[i] == t[k]):
			i, k = i+1, k+1
		case star >= 0:
			from++
			i, k = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(string(p[i:]), "*") == ""
}

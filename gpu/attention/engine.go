package attention

import (
	"cmp"
	"slices"
	"time"

	"berth/gpu"
)

// Engine follows the samples of one host. It belongs to one goroutine.
type Engine struct {
	rules map[string]Rule
	seen  map[string]*state
}

// state is one rule's about one subject.
type state struct {
	since time.Time // since when it is at or above Raise, or, once found, below Clear; zero: it is not
	found *gpu.Finding
}

// New returns an engine that has seen nothing yet.
func New(rules []Rule) *Engine {
	e := &Engine{rules: map[string]Rule{}, seen: map[string]*state{}}
	for _, r := range rules {
		e.rules[r.ID] = r
	}
	return e
}

// severities in their order.
var severities = []string{"info", "warning", "critical"}

// Check takes the next sample and returns what wants attention now, the most severe first. What a sample
// does not show (figures that are stale, a share that hangs) stays as it was.
func (e *Engine) Check(s *gpu.Sample) []gpu.Finding {
	now := s.SampledAt
	there := map[string]bool{}
	for _, o := range observe(s) {
		rule, ok := e.rules[o.rule]
		if !ok {
			continue
		}
		id := o.rule
		if o.key != "" {
			id += ":" + o.key
		}
		there[id] = true
		st := e.seen[id]
		if st == nil {
			st = &state{}
			e.seen[id] = st
		}
		if o.unknown {
			continue
		}
		e.step(st, rule, id, o, now)
	}
	var out []gpu.Finding
	for id, st := range e.seen {
		if !there[id] { // its subject is gone
			delete(e.seen, id)
			continue
		}
		if st.found != nil {
			out = append(out, *st.found)
		}
	}
	slices.SortFunc(out, func(a, b gpu.Finding) int {
		return cmp.Or(cmp.Compare(slices.Index(severities, b.Severity), slices.Index(severities, a.Severity)),
			a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	return out
}

func (e *Engine) step(st *state, rule Rule, id string, o observation, now time.Time) {
	high := o.value >= rule.Raise
	if st.found != nil {
		high = o.value >= rule.Clear
	}
	if high == (st.found != nil) {
		st.since = time.Time{} // as it was
	} else if st.since.IsZero() || now.Before(st.since) { // a clock that was set back begins again
		st.since = now
	}
	if !st.since.IsZero() && now.Sub(st.since) >= time.Duration(rule.For) {
		if st.found == nil {
			st.found = &gpu.Finding{ID: id, Rule: rule.ID, Since: st.since}
		} else {
			st.found = nil
		}
		st.since = time.Time{}
	}
	if f := st.found; f != nil {
		f.Subject, f.Text, f.Advice = o.subject, o.text, cmp.Or(o.advice, rule.Advice)
		f.Severity = rule.Severity
		if rule.Critical != nil && o.value >= *rule.Critical {
			f.Severity = "critical"
		}
	}
}

package queue

import (
	"fmt"
	"slices"
	"strings"
)

// Dependency is a job that another one waits for.
type Dependency struct {
	ID   ID     `json:"id,omitzero"` // of an array: all its elements
	When Ending `json:"when,omitzero"`
}

// Ending says which end of a job is waited for.
type Ending string

// The endings.
const (
	Success Ending = "success"
	Any     Ending = "any"
	// Failure is any end but Succeeded and Cancelled.
	Failure Ending = "failure"
)

// Met reports whether the end is the one that is waited for. A job that isn't done meets none.
func (e Ending) Met(s State) bool {
	switch e {
	case Success:
		return s == Succeeded
	case Failure:
		return s == Failed || s == TimedOut || s == Lost
	case Any:
		return s.Done()
	}
	return false
}

// String is what ParseAfter reads; "failure:12" is of --after-failure.
func (d Dependency) String() string {
	if d.When == Success {
		return d.ID.String()
	}
	return string(d.When) + ":" + d.ID.String()
}

// ParseAfter reads a list of jobs of one instance, "12,13_2": all of them are to succeed. "any:12,13" waits for any
// end of them.
func ParseAfter(s string) ([]Dependency, error) {
	if rest, ok := strings.CutPrefix(s, "any:"); ok {
		return parseAfter(rest, Any)
	}
	return parseAfter(s, Success)
}

// ParseAfterFailure reads a list of jobs that are to fail, "12,13".
func ParseAfterFailure(s string) ([]Dependency, error) { return parseAfter(s, Failure) }

func parseAfter(s string, when Ending) (out []Dependency, err error) {
	for part := range strings.SplitSeq(s, ",") {
		id, err := ParseID(part)
		if err != nil {
			return nil, fmt.Errorf("what to wait for can't be read from %q: %w", s, err)
		}
		if len(out) == MaxAfter {
			return nil, fmt.Errorf("a job waits for at most %d others: have it wait for an array instead", MaxAfter)
		}
		if d := (Dependency{ID: id, When: when}); !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out, nil
}

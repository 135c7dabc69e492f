package operation

import (
	"context"
	"slices"
	"time"
)

// Step is one repeatable part of an operation.
type Step struct {
	Name  string // by which a stored step is found again, whatever build stored it
	Title string // for people
	Limit time.Duration
	Do    func(ctx context.Context, r *Run) error
	// Called: the step has a fault point between the provider's answer and the step's end.
	Called bool
	// Early: it is of use only before what follows. Where an older build's operation is past it, nothing is missed.
	Early bool
}

// Plan is how operations of one kind are carried out.
type Plan struct {
	Steps []Step
	// Ends are the kinds of operations under way that a new one of this kind ends; EndsAll: all but those of its own.
	Ends    []string
	EndsAll bool
	// Background operations were asked for by nobody: they make way for every other kind, and their failure is a
	// warning.
	Background bool
}

// Supersedes says whether a new operation of a kind ends one of another kind that is under way.
func (e *Engine) Supersedes(kind, underWay string) bool {
	if e.plans[underWay].Background {
		return !e.plans[kind].Background
	}
	p := e.plans[kind]
	return p.EndsAll && underWay != kind || slices.Contains(p.Ends, underWay)
}

// Background reports whether nobody asks for operations of this kind.
func (e *Engine) Background(kind string) bool { return e.plans[kind].Background }

// FaultPoints lists the points at which Options.Fault is called for a kind of operation, in their order.
func FaultPoints(kind string, p Plan) []string {
	out := []string{kind + ".begin.before", kind + ".begin.after"}
	for _, s := range p.Steps {
		out = append(out, kind+"."+s.Name+".before")
		if s.Called {
			out = append(out, kind+"."+s.Name+".called")
		}
		out = append(out, kind+"."+s.Name+".after")
	}
	return append(out, kind+".end.after")
}

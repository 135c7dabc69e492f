package progress

import (
	"math"
	"time"
)

// Found is how far a program is, by what it printed.
type Found struct {
	Percent float64       // from 0 to 100; of Stage where that is said
	Rate    float64       // of Unit, each second, as the program says it; 0: it doesn't
	Unit    string        // "it", "step"
	Left    time.Duration // from when it was printed, as the program says it; below 0: it doesn't
	// Stage is what Percent is of, where the whole isn't known: "Epoch 3", "Downloading".
	Stage string
}

// Seen is what there is in a tail.
type Seen int

// What there can be.
const (
	Nothing Seen = iota
	Some         // Found says it
	// Inner is a bar of a loop within another one, whose own bar stands further up: more of the output would have it.
	Inner
)

// mark is one sign of progress.
type mark struct {
	rank        rank
	depth       int // of a bar: so many others stand above it
	done, total float64
	label       string // what tells it from others; without numbers
	stage       string
	bar         bool
	twice       bool // it counts only where it was seen to grow
	begins      bool // it names what begins: nothing stands behind it
	zero        bool // it counts from 0 up to total
	at          int  // its line
	rate        float64
	unit        string
	left        time.Duration
}

// rank is how far outside a count stands: the loop over folds goes around that over epochs.
type rank int

const (
	none rank = iota
	folds
	epochs
	steps
)

func (m *mark) full() bool        { return m.done >= m.total }
func (m *mark) like(o *mark) bool { return m.label == o.label && m.total == o.total && m.bar == o.bar }
func (m *mark) outside(o *mark) bool {
	return m.depth < o.depth || m.depth == o.depth && m.rank < o.rank
}

// Read reads the end of what a program printed; whole says that it is all of it.
func Read(tail []byte, whole bool) (Found, Seen) {
	var marks []mark
	all := lines(tail, whole)
	for i, l := range all {
		for _, m := range read(l) {
			m.at = i
			if m.total > 0 && m.done <= m.total {
				marks = append(marks, m)
			}
		}
	}
	marks = grown(marks)
	if len(marks) == 0 {
		return Found{}, Nothing
	}
	last := &marks[len(marks)-1]
	chain := around(marks)
	switch {
	case len(chain) > 1 && last.stage != "" && last.depth > 0: // an evaluation in between: the loop around it counts
		chain = chain[1:]
	case chain[len(chain)-1].depth > 0 && chain[len(chain)-1].rank >= steps:
		return Found{}, Inner
	case len(chain) == 1 && last.full() && last.at < len(all)-1: // one of the things that were done before
		return Found{}, Nothing
	}
	f := Found{Percent: 100 * share(marks, chain), Rate: last.rate, Unit: last.unit, Left: -1}
	if inner := chain[0]; len(chain) == 1 {
		f.Left, f.Stage = inner.left, inner.stage
		if f.Stage == "" && began(marks, inner) {
			f.Stage = "this loop"
		}
	}
	return f, Some
}

// grown leaves out those that count only where they grow, and did not.
func grown(marks []mark) (out []mark) {
	for i, m := range marks {
		if !m.twice {
			out = append(out, m)
			continue
		}
		for k := i - 1; k >= 0; k-- {
			if o := &marks[k]; o.twice && o.like(&m) {
				if o.done < m.done {
					out = append(out, m)
				}
				break
			}
		}
	}
	return out
}

// around are the newest mark and those that stand around it, from the inside.
func around(marks []mark) []*mark {
	chain := []*mark{&marks[len(marks)-1]}
	for i := len(marks) - 2; i >= 0; i-- {
		in := chain[len(chain)-1]
		if m := &marks[i]; m.outside(in) && m.stage == "" && (in.stage == "" || m.depth < in.depth) {
			chain = append(chain, m)
		}
	}
	return chain
}

// share is the part of the whole that is done: of each loop those rounds that are over, and the part of the one that
// goes on.
func share(marks []mark, chain []*mark) float64 {
	in := 0.0
	for i, m := range chain {
		done, total := m.done, m.total
		within := i > 0
		switch {
		case !m.bar && (m.zero || m.rank < steps && zeroBased(marks, m)):
			total++
			if !within && !m.begins {
				done++ // it is said at the end of a round
			}
		case !m.bar && (m.begins || within && m.at == chain[i-1].at):
			done-- // the round that it names goes on
		}
		in = min(max((done+in)/total, 0), 1)
	}
	if math.IsNaN(in) {
		return 0
	}
	return in
}

// zeroBased reports whether a count was seen to begin at 0.
func zeroBased(marks []mark, m *mark) bool {
	for i := range marks {
		if o := &marks[i]; o.done == 0 && o.like(m) {
			return true
		}
	}
	return false
}

// began reports whether a count was further before, so that it is one of several.
func began(marks []mark, m *mark) bool {
	for i := range marks {
		if o := &marks[i]; o.like(m) && o.depth == m.depth && o.done > m.done {
			return true
		}
	}
	return false
}

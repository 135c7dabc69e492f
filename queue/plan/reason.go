package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/queue"
)

// Reason is why a job waits, and until when.
type Reason struct {
	Code     Code
	Text     string             // in words: "it waits for 2 jobs before it"
	Behind   int                // jobs that go before it, of WaitsBehind
	WaitsFor []queue.Dependency // of WaitsDependency
	At       time.Time          // of WaitsBegin
	// StartsAt is about when it starts, by time-outs and by how long the same commands took; zero: not known.
	StartsAt time.Time
}

// Code is a kind of reason.
type Code string

// The kinds. The first of them that holds is the reason.
const (
	WaitsImpossible Code = "impossible" // this instance has not so much
	WaitsHeld       Code = "held"
	WaitsBegin      Code = "begin" // for a time, or for the next try
	WaitsDependency Code = "dependency"
	WaitsDrain      Code = "drain" // nothing is started now
	WaitsGroup      Code = "group" // for its group, or for other elements of its array
	WaitsSlots      Code = "slots" // it is the next, and waits for slots or GPUs
	WaitsBehind     Code = "behind"
)

// Reasons says why jobs wait, in their order. One that doesn't wait has no Code.
func (p *Planner) Reasons(now time.Time, ids []queue.ID) []Reason {
	p.now = now
	out := make([]Reason, len(ids))
	var lined []row
	for i, id := range ids {
		it, ahead := p.waits(id)
		if it == nil {
			continue
		}
		if out[i] = p.aside(it); out[i].Code == "" {
			lined = append(lined, row{it: it, ahead: ahead, to: &out[i]})
		}
	}
	if !p.rankFirst(lined) {
		p.rank(lined)
	}
	for _, r := range lined {
		r.to.Behind = r.ahead
		if r.to.Code, r.to.Text = WaitsBehind, plural(r.ahead, "it waits for one job before it",
			"it waits for %d jobs before it"); r.ahead == 0 {
			r.to.Code, r.to.Text = WaitsSlots, p.lacks(p.needOf(r.it.shape.request))
		}
	}
	p.estimate(lined)
	return out
}

// row is a job of which it is asked why it waits.
type row struct {
	it    *item
	ahead int // jobs before it
	to    *Reason
}

// waits is the item in which a job waits, and how many elements of its array go before it.
func (p *Planner) waits(id queue.ID) (it *item, ahead int) {
	if it := p.items[id]; it != nil {
		if !it.state().Waiting() {
			return nil, 0
		}
		return it, 0
	}
	if s, found := p.stateOf(id); !found || !s.Waiting() {
		return nil, 0
	}
	arr := p.items[id.Array()]
	place, _ := arr.arr.spec.Place(id.Index)
	ahead = place
	if arr.st != nil {
		for _, r := range arr.st.Begun {
			if r.Last < place {
				ahead -= r.Len()
			}
		}
	}
	return arr, ahead
}

// aside is why a job stands in no line; no Code: it stands in it.
func (p *Planner) aside(it *item) Reason {
	g := it.shape.group
	if why := p.limits.Never(it.shape.request); why != "" {
		return Reason{Code: WaitsImpossible, Text: why}
	}
	switch from := it.from(); {
	case it.state() == queue.Held:
		return Reason{Code: WaitsHeld, Text: "it is held until it is released"}
	case from.After(p.now):
		text := "it waits for its time"
		switch {
		case it.st == nil || !it.st.EligibleAt.Equal(from):
		case it.service():
			text = "it has ended (" + endedBy(it.st) + "), and is started again"
		default:
			text = fmt.Sprintf("it has failed (%s), and is tried again, for the %s time", endedBy(it.st), ordinal(it.st.Attempt))
		}
		return Reason{Code: WaitsBegin, Text: text, At: from, StartsAt: from}
	case len(it.unmet) > 0:
		return Reason{Code: WaitsDependency, Text: waitsFor(it.unmet), WaitsFor: it.unmet}
	case p.drain:
		return Reason{Code: WaitsDrain, Text: "no job is started now: the instance is about to stop"}
	case g.full():
		return Reason{Code: WaitsGroup, Text: fmt.Sprintf("it waits for its group %s, of which %s at once", g.name,
			plural(g.limit, "1 job runs", "%d jobs run"))}
	case it.arr != nil && it.arr.full():
		return Reason{Code: WaitsGroup, Text: fmt.Sprintf("%s at once, and so many run",
			plural(it.arr.spec.Limit, "1 element", "%d elements"))}
	}
	return Reason{}
}

// endedBy says how a run ended that was not told to.
func endedBy(st *queue.Status) string {
	switch {
	case st.Message != "":
		return st.Message
	case st.Signal != "":
		return "signal " + st.Signal
	case st.ExitCode != nil:
		return fmt.Sprintf("exit code %d", *st.ExitCode)
	}
	return string(st.Cause)
}

// lacks says what the next job waits for.
func (p *Planner) lacks(n need) string {
	if n.gpus > 0 && (p.limits.GPUsUnknown != "" || !p.room.fitsGPUs(n)) {
		return p.lacksGPUs(n)
	}
	for _, it := range p.active {
		if it.shape.request.Exclusive {
			return fmt.Sprintf("it is the next, and waits for job %s, which has the instance for itself", it.id)
		}
	}
	return fmt.Sprintf("it is the next, and waits for %s", plural(n.slots, "a slot", "%d slots"))
}

// waitsFor names what a job waits for, at most three of it.
func waitsFor(unmet []queue.Dependency) string {
	var parts []string
	named := min(len(unmet), 3)
	for _, e := range []struct {
		when queue.Ending
		to   string
	}{{queue.Success, "succeed"}, {queue.Any, "end"}, {queue.Failure, "fail"}} {
		var names []string
		for _, d := range unmet[:named] {
			if d.When == e.when {
				names = append(names, d.ID.String())
			}
		}
		if len(names) > 0 {
			parts = append(parts, strings.Join(names, ", ")+" to "+e.to)
		}
	}
	if more := len(unmet) - named; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	return "it waits for " + strings.Join(parts, ", and for ")
}

func plural(n int, one, more string) string {
	switch {
	case n == 1:
		return one
	case strings.Contains(more, "%d"):
		return fmt.Sprintf(more, n)
	}
	return more
}

func ordinal(n int) string {
	switch {
	case n%100/10 != 1 && n%10 == 1:
		return fmt.Sprint(n, "st")
	case n%100/10 != 1 && n%10 == 2:
		return fmt.Sprint(n, "nd")
	case n%100/10 != 1 && n%10 == 3:
		return fmt.Sprint(n, "rd")
	}
	return fmt.Sprint(n, "th")
}

// maxWalk is how far the line is walked through for rows that stand at its front.
const maxWalk = 1000

// rankFirst is rank for rows that stand at the line's front: false, and nothing is changed, if not all of them do.
func (p *Planner) rankFirst(rows []row) bool {
	ahead := make(map[*item]int, len(rows))
	for _, r := range rows {
		ahead[r.it] = -1
	}
	left, walked, jobs := len(ahead), 0, 0
	for it := range p.inOrder() {
		if _, asked := ahead[it]; asked {
			ahead[it] = jobs
			left--
		}
		jobs += it.jobs()
		if walked++; left == 0 || walked == maxWalk {
			break
		}
	}
	if left > 0 {
		return false
	}
	for i := range rows {
		rows[i].ahead += ahead[rows[i].it]
	}
	return true
}

// rank counts the jobs in the line before each row's.
func (p *Planner) rank(rows []row) {
	if len(rows) == 0 {
		return
	}
	sorted := make([]*row, len(rows))
	for i := range rows {
		sorted[i] = &rows[i]
	}
	slices.SortStableFunc(sorted, func(a, b *row) int { return order(a.it, b.it) })
	before := make([]int, len(sorted)+1) // jobs that stand before the row at i, and not before the one at i-1
	for _, g := range p.line {
		for _, s := range g.shapes {
			for _, it := range s.items {
				i, _ := slices.BinarySearchFunc(sorted, it, func(r *row, it *item) int {
					if it.before(r.it) {
						return 1
					}
					return -1
				})
				before[i] += it.jobs()
			}
		}
	}
	sum := 0
	for i, r := range sorted {
		sum += before[i]
		r.ahead += sum
	}
}

func order(a, b *item) int {
	switch {
	case a == b:
		return 0
	case a.before(b):
		return -1
	}
	return 1
}

package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/queue"
)

// GPU is one that jobs can have: a whole one, or a MIG instance of one.
type GPU struct {
	queue.GPU
	Memory int64 // bytes; 0: not known, and it can't be shared then
	Used   int64 // bytes that are really used now
	// Near is the number of its set: those of one number are joined by NVLink or a PCIe switch.
	Near  int
	Users []User
	Fault Fault
}

// Fault is what a GPU had last that was its own, and no program's.
type Fault struct {
	Text string    // in words: "XID 79: the GPU has fallen off the bus"; "": none
	Lost bool      // it is not there any more
	At   time.Time // when it was told; of one that is lost it does not count
}

// User is a process that uses a GPU, or something else for which it is given to nobody.
type User struct {
	Job   queue.ID  // that it is of; zero: of none
	Text  string    // in words: "python of bob (process 4242)"
	Since time.Time // zero: not known
	// Leased says that it is a job of a queue of this host: it gives the GPU back. Others may have it for ever.
	Leased bool
}

// need is what a job takes while it runs.
type need struct {
	slots  int
	gpus   int
	memory int64 // bytes of each of its GPUs, which it shares; 0: it has them for itself
}

// room is what of the instance is not held.
type room struct {
	slots int // below 0 where limits were lowered
	of    []GPU
	held  []holding // of each of them
}

// holding is how jobs hold a GPU.
type holding struct {
	jobs     int
	reserved int64  // bytes, by those that share it; 0: one job has it for itself
	taken    *User  // for which it is given to nobody; nil: it may be given
	left     string // why it is left to another user, though it is free; "": it is not
}

func newRoom(l Limits) room { return room{l.Slots, l.GPUs, make([]holding, len(l.GPUs))} }

// clone is a room that is played with.
func (r room) clone() room {
	r.held = slices.Clone(r.held)
	return r
}

// take takes what a job needs, with the GPUs that were chosen for it.
func (r *room) take(n need, gpus []int) {
	r.slots -= n.slots
	for _, i := range gpus {
		h := &r.held[i]
		h.jobs++
		h.reserved += n.memory
	}
}

// give gives back what take took.
func (r *room) give(n need, gpus []int) {
	r.slots += n.slots
	for _, i := range gpus {
		h := &r.held[i]
		h.jobs--
		h.reserved -= n.memory
	}
}

// fits reports whether a need can be met.
func (r *room) fits(n need) bool { return r.fitsSlots(n) && r.fitsGPUs(n) }

func (r *room) fitsSlots(n need) bool { return n.slots == 0 || n.slots <= r.slots }

func (r *room) fitsGPUs(n need) bool {
	free := 0
	for i := range r.of {
		if free >= n.gpus {
			break
		}
		if r.has(i, n) {
			free++
		}
	}
	return free >= n.gpus
}

// has reports whether a GPU can be given now for a need.
func (r *room) has(i int, n need) bool {
	g, h := &r.of[i], &r.held[i]
	if h.taken != nil || h.left != "" || !suits(r.of, g, n) {
		return false
	}
	if n.memory == 0 {
		return h.jobs == 0
	}
	return (h.jobs == 0 || h.reserved > 0) && r.left(i) >= n.memory
}

// left is how much of a GPU's memory can be reserved. What is really used counts where it is more than what was
// reserved; what was reserved counts where it is more, since programs take their memory late.
func (r *room) left(i int) int64 {
	g, h := &r.of[i], &r.held[i]
	if h.jobs == 0 {
		return g.Memory
	}
	return g.Memory - max(h.reserved, g.Used)
}

// suits reports whether a GPU is of the kind that a need can be met with. A process sees one MIG instance only, so
// that several are never met by them; and where there are whole GPUs, one without a size is a whole one.
func suits(all []GPU, g *GPU, n need) bool {
	if n.memory > 0 {
		return g.Memory >= n.memory && (!g.MIG || n.gpus == 1)
	}
	return !g.MIG || n.gpus == 1 && !slices.ContainsFunc(all, func(o GPU) bool { return !o.MIG })
}

// most is how many GPUs of an instance a need could have at the most, were all free.
func most(all []GPU, n need) (count int) {
	for i := range all {
		if suits(all, &all[i], n) {
			count++
		}
	}
	return count
}

// choose picks GPUs for a need that fits. A GPU that is shared already is shared further, and the one with the least
// left over comes first. Of free ones it takes those of one set, of the smallest set that has enough, so that larger
// ones stay whole; where none has enough, of the largest ones.
func (r *room) choose(n need) []int {
	if n.gpus == 0 {
		return nil
	}
	var can []int
	sets := map[int]int{} // how many of them each set has
	for i := range r.of {
		if r.has(i, n) {
			can = append(can, i)
			sets[r.of[i].Near]++
		}
	}
	slices.SortStableFunc(can, func(a, b int) int {
		if n.memory > 0 {
			if shared := boolInt(r.held[b].jobs > 0) - boolInt(r.held[a].jobs > 0); shared != 0 {
				return shared
			}
			if less := r.left(a) - r.left(b); less != 0 {
				return int(max(min(less, 1), -1))
			}
		}
		sa, sb := sets[r.of[a].Near], sets[r.of[b].Near]
		switch enoughA, enoughB := sa >= n.gpus, sb >= n.gpus; {
		case enoughA != enoughB:
			return boolInt(enoughB) - boolInt(enoughA)
		case sa != sb && enoughA:
			return sa - sb
		case sa != sb:
			return sb - sa
		}
		return r.of[a].Near - r.of[b].Near
	})
	got := can[:n.gpus]
	slices.Sort(got)
	return got
}

// places are where the GPUs of a run stand among those of the instance; one that is gone stands nowhere.
func (r *room) places(gpus []queue.GPU) (at []int) {
	for _, g := range gpus {
		if i := slices.IndexFunc(r.of, func(o GPU) bool { return o.UUID == g.UUID }); i >= 0 {
			at = append(at, i)
		}
	}
	return at
}

// SetGPUs says how the instance's GPUs are now. What runs goes on.
type SetGPUs struct {
	GPUs []GPU
	// Unknown is why nobody knows which GPUs there are; "": it is known. Jobs that may need one wait then.
	Unknown string
	Sharing Sharing
}

func (s SetGPUs) take(p *Planner) Answer {
	was, known := p.limits.GPUs, p.limits.GPUsUnknown == ""
	p.limits.GPUs, p.limits.GPUsUnknown, p.limits.Sharing = slices.Clone(s.GPUs), s.Unknown, s.Sharing
	same := slices.EqualFunc(was, p.limits.GPUs, func(a, b GPU) bool { return a.GPU == b.GPU && a.Memory == b.Memory })
	if !same || known != (s.Unknown == "") {
		p.setLimits(p.limits) // what could never run may run now
	} else {
		p.recount()
	}
	return Answer{}
}

// retake finds the GPUs that are given to nobody. A process of a job that has the GPU is none to keep off for, and one
// of a job that is over is gone.
func (p *Planner) retake() {
	for i := range p.room.of {
		h := &p.room.held[i]
		h.taken = nil
		for j := range p.room.of[i].Users {
			u := &p.room.of[i].Users[j]
			if it := p.items[u.Job]; u.Job == (queue.ID{}) || it != nil && it.run != nil && !slices.Contains(it.run.gpus, i) {
				h.taken = u
				break
			}
		}
	}
}

// faultOf is what a GPU of a run had while it ran, and the cause that it is of the run's failure; "": none had any.
// One that is lost is the cause, whatever else there was.
func (p *Planner) faultOf(it *item) (cause queue.Cause, text string) {
	if p.limits.GPUsUnknown == "" && len(it.run.gpus) < len(it.st.GPUs) {
		return queue.ByGPULoss, "a GPU of it is there no more"
	}
	for _, i := range it.run.gpus {
		g := &p.limits.GPUs[i]
		switch f := g.Fault; {
		case f.Text != "" && f.Lost:
			return queue.ByGPULoss, g.Name() + ": " + f.Text
		case f.Text != "" && f.At.After(it.st.StartedAt):
			cause, text = queue.ByXID, g.Name()+": "+f.Text
		}
	}
	return cause, text
}

// strays reports whether a job uses a GPU that it has not.
func (p *Planner) strays(it *item) bool {
	for i := range p.room.held {
		if u := p.room.held[i].taken; u != nil && u.Job == it.id {
			return true
		}
	}
	return false
}

// WantsGPUs reports whether somebody has, or waits for, a GPU: how they are matters then.
func (p *Planner) WantsGPUs() bool { return p.wanting > 0 }

// lacksGPUs says which GPUs the next job waits for: by whom those are used that it could have.
func (p *Planner) lacksGPUs(n need) string {
	what := plural(n.gpus, "a GPU", "%d GPUs")
	if p.limits.GPUsUnknown != "" {
		return "it waits for " + what + ": " + p.limits.GPUsUnknown
	}
	var by []string
	for i := range p.room.of {
		g, u := &p.room.of[i], p.room.held[i].taken
		switch {
		case !suits(p.room.of, g, n) || p.room.has(i, n) || p.room.held[i].left != "":
		case u != nil:
			why := g.Name() + ": " + u.Text
			if !u.Since.IsZero() {
				why += ", " + span(p.now.Sub(u.Since))
			}
			by = append(by, why)
		default:
			by = append(by, g.Name()+": "+p.holders(i))
		}
	}
	by = append(p.leftGPUs(n), by...)
	text := "it is the next, and waits for " + what
	if more := len(by) - maxNamed; more > 0 {
		by = append(by[:maxNamed], fmt.Sprintf("%d more", more))
	}
	if len(by) > 0 {
		text += " (" + strings.Join(by, "; ") + ")"
	}
	return text
}

// maxNamed is how many GPUs a reason names.
const maxNamed = 4

// holders names the jobs that hold a GPU.
func (p *Planner) holders(gpu int) string {
	var ids []queue.ID
	for _, it := range p.active {
		if slices.Contains(it.run.gpus, gpu) {
			ids = append(ids, it.id)
		}
	}
	slices.SortFunc(ids, compareIDs)
	var names []string
	for _, id := range ids[:min(len(ids), maxNamed)] {
		names = append(names, id.String())
	}
	return plural(len(ids), "job ", "jobs ") + strings.Join(names, ", ")
}

// compareIDs is the order of jobs by their numbers, and of an array's elements by their indices.
func compareIDs(a, b queue.ID) int {
	return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Index, b.Index))
}

// span is a duration in words, of its largest unit: "3 h".
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d >= time.Minute:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d s", max(d, 0)/time.Second)
}

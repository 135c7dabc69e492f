package data

import (
	"maps"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/api"
)

// Row is one instance in the store. It is not changed any more, but for Gone and the lazy haystack.
type Row struct {
	api.Instance
	Gone bool // replaced or removed: a list that holds it drops it
	hay  string
}

// UserTags are the tags without those by which Berth knows its own: they say nothing to people.
func (r *Row) UserTags() map[string]string {
	out := maps.Clone(r.Tags)
	maps.DeleteFunc(out, func(k, _ string) bool { return strings.HasPrefix(strings.ToLower(k), backend.OwnTags) })
	return out
}

// Haystack is what a filter searches, in lower case.
func (r *Row) Haystack() string {
	if r.hay == "" {
		var b strings.Builder
		for _, s := range []string{r.Name, string(r.State), r.Backend, r.Size, r.Region, r.Owner, r.AssignedTo, r.Address,
			r.Image} {
			if s != "" {
				b.WriteString(s)
				b.WriteByte(' ')
			}
		}
		for _, g := range r.GPUs {
			b.WriteString(g.Name)
			b.WriteByte(' ')
		}
		for k, v := range r.UserTags() {
			b.WriteString(k + "=" + v + " ")
		}
		r.hay = strings.ToLower(b.String())
	}
	return r.hay
}

// Delta is what changed since the last one.
type Delta struct {
	Changed    []*api.Instance
	Removed    []string // ids
	Events     []api.Event
	Operations []*api.Operation
	Complete   bool  // the whole fleet has been seen
	Connected  bool  // the stream is up
	Err        error // why not
}

// maxEvents is how many events the store keeps for the events screen.
const maxEvents = 1000

// Store is the fleet as it was last seen.
type Store struct {
	rows   map[string]*Row
	names  map[string]int            // how many rows have a name, in lower case
	ops    map[string]*api.Operation // the latest by instance id
	events []api.Event               // oldest first

	Gen       uint64 // grows with each delta
	Loaded    bool   // the first snapshot is complete
	Connected bool
	Err       error

	totals    Totals
	totalsGen uint64

	figs         map[string]*Figures // by instance id
	told         map[told]time.Time  // when what was told last began
	FigGen       uint64              // grows with each delta of figures
	FigErr       error               // why no figures come; nil: they do
	figTotals    FigureTotals
	figTotalsGen [2]uint64
}

// NewStore returns an empty store.
func NewStore() *Store {
	return &Store{rows: map[string]*Row{}, names: map[string]int{}, ops: map[string]*api.Operation{},
		figs: map[string]*Figures{}, told: map[told]time.Time{}}
}

// Apply takes a delta in and returns the rows that are new.
func (s *Store) Apply(d Delta) []*Row {
	s.Gen++
	s.Connected, s.Err = d.Connected, d.Err
	if d.Complete {
		s.Loaded = true
	}
	// Removals first: what went and came again within one delta is there.
	for _, id := range d.Removed {
		if old := s.rows[id]; old != nil {
			old.Gone = true
			s.count(old.Name, -1)
			delete(s.rows, id)
			delete(s.ops, id)
			delete(s.figs, id)
		}
	}
	fresh := make([]*Row, 0, len(d.Changed))
	for _, in := range d.Changed {
		r := &Row{Instance: *in}
		if old := s.rows[r.ID]; old != nil {
			old.Gone = true
			s.count(old.Name, -1)
		}
		s.count(r.Name, 1)
		s.rows[r.ID] = r
		fresh = append(fresh, r)
		if in.Operation != nil {
			s.ops[r.ID] = in.Operation
		}
	}
	for _, op := range d.Operations {
		s.ops[op.InstanceID] = op
	}
	for _, e := range d.Events {
		if n := len(s.events); n == 0 || e.Seq > s.events[n-1].Seq {
			s.events = append(s.events, e)
		}
	}
	if n := len(s.events) - maxEvents; n > maxEvents/4 {
		s.events = append([]api.Event(nil), s.events[n:]...)
	}
	return fresh
}

// Row returns an instance by id, or nil.
func (s *Store) Row(id string) *Row { return s.rows[id] }

// ByName returns an instance by name or BACKEND/NAME without regard to case, or nil.
func (s *Store) ByName(name string) *Row {
	for _, r := range s.rows {
		if strings.EqualFold(r.Name, name) || strings.EqualFold(r.Backend+"/"+r.Name, name) {
			return r
		}
	}
	return nil
}

// Len is the number of instances.
func (s *Store) Len() int { return len(s.rows) }

// Each calls f with every row, in no order.
func (s *Store) Each(f func(*Row)) {
	for _, r := range s.rows {
		f(r)
	}
}

// Op returns the last known operation of an instance, or nil.
func (s *Store) Op(id string) *api.Operation { return s.ops[id] }

// Events returns the events seen on the stream, oldest first.
func (s *Store) Events() []api.Event { return s.events }

// Ref is how the workspace is asked for a row: its name, with its backend where another has the name too.
func (s *Store) Ref(r *Row) string {
	if s.names[strings.ToLower(r.Name)] > 1 {
		return r.Backend + "/" + r.Name
	}
	return r.Name
}

func (s *Store) count(name string, n int) {
	name = strings.ToLower(name)
	if s.names[name] += n; s.names[name] <= 0 {
		delete(s.names, name)
	}
}

// Totals sums up a fleet. Money is in US dollars; the Known fields say whether any was known.
type Totals struct {
	All, Running, Changing, Stopped, Failed, Unknown int
	GPUs                                             int // of running instances
	PerHour, Today                                   float64
	PerHourKnown, TodayKnown                         bool
	Unpriced                                         int // running, made by Berth, of unknown price
}

// Totals returns the sums over the whole store.
func (s *Store) Totals() Totals {
	if s.totalsGen == s.Gen && s.Gen > 0 {
		return s.totals
	}
	var t Totals
	for _, r := range s.rows {
		t.All++
		switch {
		case r.State == api.StateRunning:
			t.Running++
			t.GPUs += len(r.GPUs)
		case r.State.Changing():
			t.Changing++
		case r.State == api.StateStopped:
			t.Stopped++
		case r.State == api.StateUnknown:
			t.Unknown++
		default:
			t.Failed++
		}
		if p := Rate(&r.Instance); p != nil {
			t.PerHour += *p
			t.PerHourKnown = true
		} else if r.State == api.StateRunning && !r.Adopted { // what was taken in is somebody's own
			t.Unpriced++
		}
		if r.CostTodayUSD != nil {
			t.Today += *r.CostTodayUSD
			t.TodayKnown = true
		}
	}
	s.totals, s.totalsGen = t, s.Gen
	return t
}

// Rate is what an instance costs an hour in its present state, in US dollars; nil is unknown.
func Rate(in *api.Instance) *float64 {
	switch in.State {
	case api.StateStopped:
		return in.StoppedUSDPerHour
	case api.StateCreateFailed, api.StateUnknown:
		return nil
	}
	if in.RunningUSDPerHour != nil {
		return in.RunningUSDPerHour
	}
	return in.PriceUSDPerHour
}

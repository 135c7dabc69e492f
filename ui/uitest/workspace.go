package uitest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/backend/api"
)

// Workspace is a workspace in memory. Set the fields before use. It is safe for concurrent use.
type Workspace struct {
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Step is how long a step of an operation takes. 0: steps are taken by Advance only.
	Step time.Duration
	// Fail, if set, may refuse an action or a creation.
	Fail func(action, name string) error
	// WatchErr, if set, is asked at the beginning of each Watch.
	WatchErr func() error
	// Taken are names that only the provider knows of; CheckErr is what CheckName fails with.
	Taken    map[string]bool
	CheckErr error
	// HistoryErr is what every agent's History fails with.
	HistoryErr error
	// SnapshotErr is what asking for snapshots and deleting one fail with.
	SnapshotErr error
	// Text is what Console returns.
	Text string

	mu        sync.Mutex
	instances map[string]*api.Instance
	ops       map[string]*api.Operation
	events    []api.Event
	seq       int64
	n         int
	subs      map[*sub]struct{}
	kept      map[string][]api.Snapshot // by instance id
	about     map[string]string         // the snapshot that an operation is about, by its id
	hanging   bool                      // asking for snapshots waits
	waiters   map[chan struct{}]struct{}
	Calls     []string // what was asked, oldest first; read with Log
	measured
}

type sub struct {
	mu      sync.Mutex
	pending []api.Change
	figures []api.FleetFigures // only the driver takes these
	wake    chan struct{}
	end     chan struct{}
}

// New returns a workspace with these instances.
func New(now func() time.Time, list ...api.Instance) *Workspace {
	w := &Workspace{Now: now, instances: map[string]*api.Instance{}, ops: map[string]*api.Operation{}, subs: map[*sub]struct{}{}, kept: map[string][]api.Snapshot{}, about: map[string]string{}, waiters: map[chan struct{}]struct{}{}, measured: newMeasured()}
	for i := range list {
		in := list[i]
		w.instances[in.ID] = &in
	}
	return w
}

func (w *Workspace) now() time.Time {
	if w.Now == nil {
		return time.Now()
	}
	return w.Now()
}

// Log returns what was asked so far.
func (w *Workspace) Log() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.Calls)
}

func (w *Workspace) call(format string, a ...any) {
	w.Calls = append(w.Calls, fmt.Sprintf(format, a...))
}

func (w *Workspace) publish(c api.Change) {
	for s := range w.subs {
		s.mu.Lock()
		s.pending = append(s.pending, c)
		s.mu.Unlock()
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// Cut ends every watch stream, as a daemon that goes.
func (w *Workspace) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.subs {
		close(s.end)
		delete(w.subs, s)
	}
}

// Put adds or changes an instance and tells the watchers.
func (w *Workspace) Put(in api.Instance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.put(in)
}

func (w *Workspace) put(in api.Instance) {
	w.instances[in.ID] = &in
	c := in
	w.publish(api.Change{Instance: &c})
}

// Remove takes an instance away.
func (w *Workspace) Remove(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.instances, id)
	w.publish(api.Change{Removed: id})
}

// Emit records an event.
func (w *Workspace) Emit(e api.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.emit(e)
}

func (w *Workspace) emit(e api.Event) {
	w.seq++
	e.Seq = w.seq
	if e.Time.IsZero() {
		e.Time = w.now()
	}
	w.events = append(w.events, e)
	w.publish(api.Change{Event: &e})
}

func (w *Workspace) sorted() []api.Instance {
	out := make([]api.Instance, 0, len(w.instances))
	for _, in := range w.instances {
		out = append(out, *in)
	}
	slices.SortFunc(out, func(a, b api.Instance) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
	return out
}

// batch is how many instances a line of the snapshot carries.
const batch = 250

// Watch implements screen.Workspace.
func (w *Workspace) Watch(ctx context.Context, each func(api.Change) error) error {
	if w.WatchErr != nil {
		if err := w.WatchErr(); err != nil {
			return err
		}
	}
	s := &sub{wake: make(chan struct{}, 1), end: make(chan struct{})}
	w.mu.Lock()
	list := w.sorted()
	w.subs[s] = struct{}{}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.subs, s)
		w.mu.Unlock()
	}()
	for len(list) > batch {
		if err := each(api.Change{Snapshot: list[:batch]}); err != nil {
			return err
		}
		list = list[batch:]
	}
	if err := each(api.Change{Snapshot: list, Complete: true}); err != nil {
		return err
	}
	for {
		s.mu.Lock()
		p := s.pending
		s.pending = nil
		s.mu.Unlock()
		for _, c := range p {
			if err := each(c); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.end:
			return nil
		case <-s.wake:
		}
	}
}

func (w *Workspace) find(name string) (*api.Instance, error) {
	for _, in := range w.instances {
		if strings.EqualFold(in.Name, name) || strings.EqualFold(in.Backend+"/"+in.Name, name) {
			return in, nil
		}
	}
	return nil, api.Errorf(api.CodeNotFound, "there is no instance %q", name).WithHint("berth ls lists them")
}

// Info implements screen.Workspace.
func (w *Workspace) Info(context.Context) (api.Info, error) {
	return api.Info{Version: "test", Instances: len(w.instances)}, nil
}

// Instances implements screen.Workspace.
func (w *Workspace) Instances(context.Context, api.ListOptions) ([]api.Instance, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sorted(), nil
}

// Instance implements screen.Workspace.
func (w *Workspace) Instance(_ context.Context, name string) (api.Instance, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	in, err := w.find(name)
	if err != nil {
		return api.Instance{}, err
	}
	return *in, nil
}

// Refresh implements screen.Workspace.
func (w *Workspace) Refresh(_ context.Context, name string) (api.Instance, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.call("refresh %s", name)
	in, err := w.find(name)
	if err != nil {
		return api.Instance{}, err
	}
	now := w.now()
	c := *in
	c.ObservedAt = &now
	w.put(c)
	return c, nil
}

// Console implements screen.Workspace.
func (w *Workspace) Console(_ context.Context, name string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.call("console %s", name)
	_, err := w.find(name)
	return w.Text, err
}

// Events implements screen.Workspace.
func (w *Workspace) Events(_ context.Context, o api.EventOptions) ([]api.Event, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []api.Event
	for _, e := range w.events {
		if e.Seq > o.Since && (o.Instance == "" || strings.EqualFold(e.Instance, o.Instance)) {
			out = append(out, e)
		}
	}
	if o.Limit > 0 && len(out) > o.Limit {
		out = out[len(out)-o.Limit:]
	}
	return out, nil
}

// Backends implements screen.Workspace.
func (w *Workspace) Backends(context.Context) ([]api.BackendInfo, error) {
	return []api.BackendInfo{
		{Name: "local", Title: "This computer", Capabilities: api.Capabilities{Create: true, Adopt: true, Start: true, Stop: true}},
		{Name: "ssh", Title: "Any machine over SSH", Capabilities: api.Capabilities{Adopt: true}},
		{Name: "ec2", Title: "Amazon EC2", Capabilities: api.Capabilities{Create: true, Subnets: true, Profiles: true}},
	}, nil
}

func usd(v float64) *float64 { return &v }

// Sizes implements screen.Workspace.
func (w *Workspace) Sizes(_ context.Context, backend string) ([]api.Size, error) {
	if backend == "local" {
		return []api.Size{{Name: "host", Backend: "local", Description: "The whole of this computer, shared with whatever else runs on it.", VCPUs: 16, MemoryBytes: 64 << 30, GPUs: GPUs(2, "NVIDIA RTX A6000", 48), Default: true}}, nil
	}
	return []api.Size{
		{Name: "g5.xlarge", Backend: backend, VCPUs: 4, MemoryBytes: 16 << 30, GPUs: GPUs(1, "NVIDIA A10G", 24), PriceUSD: usd(1.006), Default: true, Description: "One A10G: inference and small training runs."},
		{Name: "p4d.24xlarge", Backend: backend, VCPUs: 96, MemoryBytes: 1152 << 30, GPUs: GPUs(8, "NVIDIA A100", 40), PriceUSD: usd(32.77), Description: "Eight A100 with NVLink."},
		{Name: "m7i.large", Backend: backend, VCPUs: 2, MemoryBytes: 8 << 30, PriceUSD: usd(0.1008), Description: "No GPU."},
	}, nil
}

// Images implements screen.Workspace.
func (w *Workspace) Images(_ context.Context, backend string) ([]api.Image, error) {
	if backend == "local" {
		return []api.Image{{Name: "host", Backend: "local", Description: "what is installed here", Default: true}}, nil
	}
	return []api.Image{{Name: "ubuntu-24.04", Backend: backend, Description: "Ubuntu with NVIDIA driver", Default: true}, {Name: "debian-13", Backend: backend}}, nil
}

// CheckName implements screen.Workspace.
func (w *Workspace) CheckName(_ context.Context, _, name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.call("check %s", name)
	if w.CheckErr != nil {
		return w.CheckErr
	}
	if _, err := w.find(name); err == nil || w.Taken[name] {
		return api.Errorf(api.CodeConflict, "there is an instance %q already", name)
	}
	return nil
}

// GPUs makes n GPUs of a kind with so many GiB.
func GPUs(n int, name string, gib int64) []api.GPU {
	out := make([]api.GPU, n)
	for i := range out {
		out[i] = api.GPU{Name: name, MemoryBytes: gib << 30}
	}
	return out
}

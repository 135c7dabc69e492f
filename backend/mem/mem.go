package mem

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/backend"
	"berth/backend/api"
)

// Backend is a provider in memory. Set its fields before use.
type Backend struct {
	// Hook is called before each call takes effect, with the method's name. A returned error fails
	// the call without effect.
	Hook func(ctx context.Context, method string) error
	// After is called after a call took effect; a returned error loses the answer.
	After func(ctx context.Context, method string) error
	// Delay is how long a machine stays in a passing state.
	Delay time.Duration
	// Line is the line of every machine.
	Line backend.Line
	// Deaf machines do not react to Stop and Restart.
	Deaf bool
	// Quiet machines stay running while they restart (Info.QuietRestart).
	Quiet bool
	// Edition is that of the images. A machine has what it was planned with in its Data.
	Edition string
	// Now is the clock by which machines and snapshots have their times; nil: time.Now.
	Now func() time.Time
	// Me is who it acts for, and whose machines are; empty: "me".
	Me string
	// As is what it says of itself; nil: its own, with all that it can do.
	As *backend.Info
	// Offers and Pictures are what it makes machines of; nil: a few.
	Offers   []api.Size
	Pictures []api.Image
	// Accounts, if any, are the provider's, by the AWS_PROFILE that signs in to each. Machines belong to the account
	// that made them, and no other sees them.
	Accounts map[string]Account

	mu       sync.Mutex
	n        int
	machines map[string]*machine
	passing  map[string]*machine // those in a passing state
	calls    map[string]int
	images   []api.Image // that were built
	left     []backend.Leftover
	foreign  []string // see Violations

	moves sync.Mutex // guards Accounts
}

type machine struct {
	account   string
	snapshots []api.Snapshot
	m         backend.Machine
	until     time.Time // when the passing state ends
	next      api.State // what comes then; "" for deleted
}

// New returns an empty provider.
func New() *Backend {
	return &Backend{machines: map[string]*machine{}, passing: map[string]*machine{}, calls: map[string]int{}}
}

var _ backend.Backend = (*Backend)(nil)

// Add takes in machines as they are, as a provider has them that was there before.
func (b *Backend) Add(ms ...backend.Machine) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range ms {
		have := b.machines[m.ID]
		if have == nil {
			have = &machine{}
			b.machines[m.ID] = have
		}
		have.m = m
		delete(b.passing, m.ID)
		if n, err := strconv.Atoi(strings.TrimPrefix(m.ID, "m-")); err == nil {
			b.n = max(b.n, n)
		}
	}
}

// Calls returns how often each method took effect.
func (b *Backend) Calls() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.calls)
}

// Len counts the machines.
func (b *Backend) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance()
	return len(b.machines)
}

// Put brings every machine into a state at once, as a provider may at any time.
func (b *Backend) Put(s api.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.machines {
		m.m.State = s
	}
	clear(b.passing)
}

func (b *Backend) now() time.Time {
	if b.Now == nil {
		return time.Now().UTC()
	}
	return b.Now().UTC()
}

func (b *Backend) me() string {
	if b.Me == "" {
		return "me"
	}
	return b.Me
}

// Info implements backend.Backend.
func (b *Backend) Info() backend.Info {
	if b.As != nil {
		return *b.As
	}
	return backend.Info{Name: "mem", Title: "In memory", QuietRestart: b.Quiet, AccountVariable: "AWS_PROFILE",
		Capabilities: api.Capabilities{Create: true, Start: true, Stop: true, Restart: true, Delete: true,
			Console: true, Exec: true, List: true, Regions: true, Disk: true, SSH: true, Subnets: true, Profiles: true,
			Snapshots: true, Clone: true, Build: true}}
}

func (b *Backend) do(ctx context.Context, method string, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := b.signIn(ctx); err != nil {
		return err
	}
	if b.Hook != nil {
		if err := b.Hook(ctx, method); err != nil {
			return err
		}
	}
	b.mu.Lock()
	b.advance()
	err := f()
	if err == nil {
		b.calls[method]++
	}
	b.mu.Unlock()
	if err == nil && b.After != nil {
		err = b.After(ctx, method)
	}
	return err
}

// advance ends the passing states whose time has come. b.mu must be held.
func (b *Backend) advance() {
	now := time.Now()
	for id, m := range b.passing {
		if now.Before(m.until) {
			continue
		}
		delete(b.passing, id)
		if m.next == "" {
			delete(b.machines, id)
			continue
		}
		m.m.State = m.next
	}
}

func (b *Backend) pass(m *machine, through, to api.State) {
	m.m.State, m.next, m.until = through, to, time.Now().Add(b.Delay)
	b.passing[m.m.ID] = m
	b.advance()
}

// Whoami implements backend.Backend.
func (b *Backend) Whoami(ctx context.Context) (string, error) {
	return b.meFor(ctx), b.do(ctx, "Whoami", func() error { return nil })
}

// Sizes implements backend.Backend.
func (b *Backend) Sizes(ctx context.Context) ([]api.Size, error) {
	if b.Offers != nil {
		return slices.Clone(b.Offers), b.do(ctx, "Sizes", func() error { return nil })
	}
	price, big := 0.5, 4.0
	return []api.Size{
		{Name: "small", Backend: "mem", VCPUs: 2, MemoryBytes: 8 << 30, PriceUSD: &price, Default: true},
		{Name: "gpu", Backend: "mem", VCPUs: 8, MemoryBytes: 64 << 30, GPUs: []api.GPU{{Name: "A100",
			MemoryBytes: 40 << 30}}, PriceUSD: &big},
	}, b.do(ctx, "Sizes", func() error { return nil })
}

// Images implements backend.Backend.
func (b *Backend) Images(ctx context.Context) ([]api.Image, error) {
	out := []api.Image{{Name: "base", Backend: "mem", Default: true}}
	if b.Pictures != nil {
		out = slices.Clone(b.Pictures)
	}
	err := b.do(ctx, "Images", func() error {
		out = append(out, b.images...)
		return nil
	})
	return out, err
}

// Create implements backend.Backend.
func (b *Backend) Create(ctx context.Context, s backend.Spec) (out backend.Machine, err error) {
	err = b.do(ctx, "Create", func() error {
		b.note(ctx, "Create", backend.Ref{Token: s.Token})
		for _, m := range b.machines {
			if m.m.Token == s.Token && b.sees(ctx, m) {
				out = m.m
				return nil
			}
		}
		b.n++
		b.calls["made"]++
		account, _ := b.signIn(ctx)
		m := &machine{account: account, m: backend.Machine{ID: fmt.Sprintf("m-%d", b.n), Name: s.Name, Token: s.Token, Size: s.Size,
			Image: s.Image, Owner: b.meFor(ctx), AssignedTo: s.AssignTo, SSHEnabled: s.SSH, Tags: s.Tags,
			Capabilities: b.Info().Capabilities, CreatedAt: b.now(), Line: b.Line, Data: s.Plan}}
		b.machines[m.m.ID] = m
		b.pass(m, api.StateCreating, api.StateRunning)
		out = m.m
		return nil
	})
	return out, err
}

// find returns the machine of ref, if it is the account's of ctx. b.mu must be held.
func (b *Backend) find(ctx context.Context, ref backend.Ref) (*machine, error) {
	if m := b.machines[ref.ID]; m != nil && b.sees(ctx, m) {
		return m, nil
	}
	for _, m := range b.machines {
		if ref.ID == "" && ref.Token != "" && m.m.Token == ref.Token && b.sees(ctx, m) {
			return m, nil
		}
	}
	return nil, api.Errorf(api.CodeNotFound, "no machine %q (token %q)", ref.ID, ref.Token)
}

func (b *Backend) change(ctx context.Context, method string, ref backend.Ref, f func(*machine)) error {
	return b.do(ctx, method, func() error {
		b.note(ctx, method, ref)
		m, err := b.find(ctx, ref)
		if err == nil {
			f(m)
		}
		return err
	})
}

// Start implements backend.Backend.
func (b *Backend) Start(ctx context.Context, ref backend.Ref) error {
	return b.change(ctx, "Start", ref, func(m *machine) {
		if m.m.State != api.StateRunning {
			b.pass(m, api.StateStarting, api.StateRunning)
		}
	})
}

// Stop implements backend.Backend.
func (b *Backend) Stop(ctx context.Context, ref backend.Ref) error {
	return b.change(ctx, "Stop", ref, func(m *machine) {
		if m.m.State != api.StateStopped && !b.Deaf {
			b.pass(m, api.StateStopping, api.StateStopped)
		}
	})
}

// Restart implements backend.Backend.
func (b *Backend) Restart(ctx context.Context, ref backend.Ref) error {
	return b.change(ctx, "Restart", ref, func(m *machine) {
		if !b.Deaf && !b.Quiet {
			b.pass(m, api.StateRestarting, api.StateRunning)
		}
	})
}

// Delete implements backend.Backend.
func (b *Backend) Delete(ctx context.Context, ref backend.Ref) error {
	return b.do(ctx, "Delete", func() error {
		b.note(ctx, "Delete", ref)
		if m, err := b.find(ctx, ref); err == nil {
			b.pass(m, api.StateDeleting, "")
		}
		return nil
	})
}

// Get implements backend.Backend.
func (b *Backend) Get(ctx context.Context, ref backend.Ref) (out backend.Machine, err error) {
	err = b.do(ctx, "Get", func() error {
		m, err := b.find(ctx, ref)
		if err == nil {
			out = m.m
		}
		return err
	})
	return out, err
}

// List implements backend.Backend.
func (b *Backend) List(ctx context.Context) (out []backend.Machine, err error) {
	err = b.do(ctx, "List", func() error {
		for _, id := range slices.Sorted(maps.Keys(b.machines)) {
			if m := b.machines[id]; b.sees(ctx, m) {
				out = append(out, m.m)
			}
		}
		return nil
	})
	return out, err
}

// Console implements backend.Backend.
func (b *Backend) Console(ctx context.Context, ref backend.Ref) (out []byte, err error) {
	err = b.do(ctx, "Console", func() error {
		m, err := b.find(ctx, ref)
		if err == nil {
			out = []byte("booted " + m.m.Name + "\n")
		}
		return err
	})
	return out, err
}

package job

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/backend/agent/lease"
	"berth/backend/api"
	"berth/gpu"
	"berth/gpu/probe"
	"berth/queue"
	"berth/queue/plan"
)

const (
	// ledgerFirst is how often the GPUs are looked at until there is an answer, and ledgerEvery after that: one that
	// becomes free is given away within 3 s.
	ledgerFirst, ledgerEvery = 250 * time.Millisecond, 2 * time.Second
	// ledgerLinger is how long they are looked at after the last job that may need one.
	ledgerLinger = 10 * time.Second
	// ledgerWait is how long a submit waits for the first answer: a driver may take seconds for it.
	ledgerWait = 5 * time.Second
	// usedStep is from how many bytes on it matters that more or less of a GPU's memory is used.
	usedStep = 64 << 20
)

// faultFor is how long a GPU is given to nobody after a critical error of its own, where it gives figures: one that
// gives none is kept out for as long as that is so.
const faultFor = 10 * time.Minute

// lookedAt is what is said of the GPUs while nobody has looked.
const lookedAt = "it is being looked at who uses them"

// ledger looks who uses the instance's GPUs while jobs have or want some, and tells the loop. Else it keeps quiet.
type ledger struct {
	watch   func(ctx context.Context, every time.Duration) (<-chan *gpu.Sample, func())
	present func() bool
	tell    func(plan.SetGPUs)
	used    func(context.Context, *gpu.Sample) // gets what was looked at
	quiet   func()                             // is told that nobody looks any more
	leases  func() (*lease.Folder, error)      // of all users of this host
	home    string                             // of this queue, as it stands in leases
	demand  func(ctx context.Context) (plan.Demand, error)
	warn    func(what string)
	meter   meter // of this queue's use of GPUs

	// Only look's goroutine has these.
	base    []plan.GPU // as the last sample has them; nil: they are not known
	sharing sharing
	holders map[string]lease.Holder // who holds GPUs by leases, as of the last look

	mu     sync.Mutex
	wanted bool
	asking int           // submits and ends that wait for an answer
	next   chan struct{} // closed, and made anew, at each answer that was wanted at once
	again  bool          // one is wanted at once
	anew   bool          // what is known is to be told anew
	poke   chan struct{} // wanted has changed; capacity 1
	said   *plan.SetGPUs // what was told last; nil: nothing yet
	seen   chan struct{} // closed at the first answer
	known  []plan.GPU
}

func newLedger(watch func(context.Context, time.Duration) (<-chan *gpu.Sample, func()),
	tell func(plan.SetGPUs)) *ledger {
	return &ledger{watch: watch, present: probe.Present, tell: tell, poke: make(chan struct{}, 1),
		used: func(context.Context, *gpu.Sample) {}, quiet: func() {},
		seen: make(chan struct{}), next: make(chan struct{}), leases: openLeases(), warn: func(string) {},
		demand: func(context.Context) (d plan.Demand, err error) { return d, nil }}
}

// openLeases opens the folder of leases when it is needed, and keeps it.
func openLeases() func() (*lease.Folder, error) {
	var mu sync.Mutex
	var folder *lease.Folder
	return func() (_ *lease.Folder, err error) {
		mu.Lock()
		defer mu.Unlock()
		if folder == nil {
			folder, err = lease.Open(lease.Candidates(os.Getenv))
		}
		return folder, err
	}
}

// first is what is known before anybody has looked.
func (g *ledger) first() plan.SetGPUs {
	if g.present() {
		return plan.SetGPUs{Unknown: lookedAt}
	}
	return plan.SetGPUs{}
}

// want says whether jobs have or want GPUs.
func (g *ledger) want(wanted bool) {
	g.mu.Lock()
	changed := g.wanted != wanted
	g.wanted = wanted
	g.mu.Unlock()
	if changed {
		g.wake()
	}
}

func (g *ledger) wake() {
	select {
	case g.poke <- struct{}{}:
	default:
	}
}

// ask says that a submit waits for an answer, or not any more.
func (g *ledger) ask(n int) {
	g.mu.Lock()
	g.asking += n
	g.mu.Unlock()
	g.wake()
}

func (g *ledger) isWanted() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.wanted || g.asking > 0
}

// run looks until ctx ends.
func (g *ledger) run(ctx context.Context) {
	for ctx.Err() == nil {
		if g.isWanted() && g.present() {
			g.look(ctx)
		}
		select {
		case <-g.poke:
		case <-ctx.Done():
		}
	}
}

// look looks as long as it is wanted, and a while longer.
func (g *ledger) look(ctx context.Context) {
	var old time.Time // when that was read which was known before
	every := ledgerFirst
	samples, cancel := g.watch(ctx, every)
	defer func() { cancel() }()
	defer g.quiet()
	defer func() { g.base = nil; g.takeTicket() }()
	defer func() { g.say(plan.SetGPUs{GPUs: g.latest(), Unknown: lookedAt}) }() // nobody knows who comes meanwhile
	var linger <-chan time.Time
	peek := time.NewTimer(time.Hour)
	defer peek.Stop()
	for {
		peek.Stop()
		if d := g.peekEvery(time.Now()); d > 0 && every == ledgerEvery {
			peek.Reset(d)
		}
		select {
		case <-peek.C:
			g.refresh(ctx)
		case s, ok := <-samples:
			if !ok {
				return
			}
			if old.IsZero() {
				old = s.GPUsReadAt
			}
			if every == ledgerFirst && s.GPUError == "" && s.GPUsReadAt.Equal(old) {
				continue // somebody may have come since
			}
			g.take(ctx, s)
			g.used(ctx, s)
			if every == ledgerFirst {
				g.answered()
				every = ledgerEvery
				cancel()
				samples, cancel = g.watch(ctx, every)
			}
		case <-g.poke:
			if linger = nil; !g.isWanted() {
				linger = time.After(ledgerLinger)
			}
			if g.isAnew() {
				g.refresh(ctx)
			}
			if g.atOnce() {
				every, old = ledgerFirst, time.Time{}
				cancel()
				samples, cancel = g.watch(ctx, every)
			}
		case <-linger:
			return
		case <-ctx.Done():
			return
		}
	}
}

// take takes what a sample says. Where the driver does not answer, what is known is kept, and nothing is given away.
func (g *ledger) take(ctx context.Context, s *gpu.Sample) {
	if s.GPUError != "" || s.GPUsStaleSince != nil {
		g.base = nil
		g.takeTicket() // nothing is taken now
		if !g.present() {
			g.say(plan.SetGPUs{})
			return
		}
		g.say(plan.SetGPUs{GPUs: g.latest(), Unknown: "their state is not known now: " + s.GPUError})
		return
	}
	g.base = gpusOf(s)
	g.refresh(ctx)
}

// refresh tells what the last sample and the folder of leases say.
func (g *ledger) refresh(ctx context.Context) {
	if g.base == nil {
		return
	}
	now := plan.SetGPUs{GPUs: slices.Clone(g.base)}
	folder, err := g.leases()
	if err != nil { // each job with a GPU says so
		g.sharing.contested = false
		g.say(now)
		return
	}
	others := g.addHolders(folder, now.GPUs)
	at := time.Now()
	now.Sharing = g.share(ctx, folder, at)
	g.sharing.contested = g.sharing.last.At != 0 && (others || len(now.Sharing.Others) > 0)
	if !slices.EqualFunc(g.latest(), now.GPUs, alike) {
		g.sharing.changed = at
	}
	g.say(now)
}

// sayAnew has the loop told what it knew already: it has taken one thing for true that may be so no more.
func (g *ledger) sayAnew() {
	g.mu.Lock()
	g.said, g.anew = nil, true
	g.mu.Unlock()
	g.wake()
}

// isAnew reports, once, whether what is known is to be told anew.
func (g *ledger) isAnew() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	anew := g.anew
	g.anew = false
	return anew
}

// addHolders adds who holds GPUs by leases, also where no process of theirs is seen on the GPU yet. It reports whether
// some of them are of other queues.
func (g *ledger) addHolders(folder *lease.Folder, gpus []plan.GPU) (others bool) {
	uuids := make([]string, len(gpus))
	for i := range gpus {
		uuids[i] = gpus[i].UUID
	}
	g.holders = folder.Holders(uuids)
	for i := range gpus {
		h, held := g.holders[gpus[i].UUID]
		if !held {
			continue
		}
		u := plan.User{Text: "somebody has a lease of it", Leased: true}
		if h.Job != "" {
			u.Text, u.Since = h.Who(), h.Since
		}
		if id, err := queue.ParseID(h.Job); err == nil && h.UID == os.Getuid() && h.Home == g.home {
			u.Job = id
		} else {
			others = true
		}
		gpus[i].Users = append(slices.Clip(gpus[i].Users), u)
	}
	return others
}

// say tells the loop what it does not know yet.
func (g *ledger) say(now plan.SetGPUs) {
	g.mu.Lock()
	same := g.said != nil && g.said.Unknown == now.Unknown && slices.EqualFunc(g.said.GPUs, now.GPUs, alike) &&
		sameSharing(&g.said.Sharing, &now.Sharing)
	if !same {
		g.said = &now
	}
	if now.Unknown == "" {
		g.known = now.GPUs
		select {
		case <-g.seen:
		default:
			close(g.seen)
		}
	}
	g.mu.Unlock()
	if !same {
		g.tell(now)
	}
}

// answered says to those who wait for it that the loop has how the GPUs are just now.
func (g *ledger) answered() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.next)
	g.next = make(chan struct{})
}

// atOnce reports, once, whether an answer is wanted at once.
func (g *ledger) atOnce() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	again := g.again
	g.again = false
	return again
}

// examine waits until somebody has looked at the GPUs anew, for a while at most.
func (g *ledger) examine(ctx context.Context) {
	g.mu.Lock()
	next := g.next
	g.again = true
	g.mu.Unlock()
	g.ask(1)
	defer g.ask(-1)
	ctx, cancel := context.WithTimeout(ctx, ledgerWait)
	defer cancel()
	select {
	case <-next:
	case <-ctx.Done():
	}
}

// alike reports whether two looks at a GPU are the same for the plan.
func alike(a, b plan.GPU) bool {
	used := a.Used - b.Used
	return a.GPU == b.GPU && a.Memory == b.Memory && a.Near == b.Near && a.Fault == b.Fault &&
		max(used, -used) < usedStep && slices.Equal(a.Users, b.Users)
}

func (g *ledger) latest() []plan.GPU {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.known
}

// settle finds what a job gets that said nothing of GPUs, and refuses what this instance can never give. usual is asked
// where there are some.
func (g *ledger) settle(ctx context.Context, s *queue.Spec, usual func() (int, error)) error {
	r := &s.Request
	var limits plan.Limits
	present := g.present()
	if present {
		g.ask(1)
		defer g.ask(-1)
		wait, cancel := context.WithTimeout(ctx, ledgerWait)
		defer cancel()
		select {
		case <-g.seen:
			limits.GPUs = g.latest()
		case <-wait.Done():
			limits.GPUsUnknown = lookedAt // the job waits until they can be
		}
		for _, kv := range s.Env {
			if k, _, _ := strings.Cut(kv, "="); k == "CUDA_VISIBLE_DEVICES" || k == "CUDA_DEVICE_ORDER" {
				return api.Errorf(api.CodeUsage, "%s is set by the queue, which knows which GPUs are free", k).
					WithHint("say how many GPUs the job needs: --gpus N; its program finds them, whatever their numbers are")
			}
		}
	}
	switch {
	case r.GPUs >= 0:
	case s.Ranks > 0 && present:
		r.GPUs = s.Ranks
	case len(limits.GPUs) == 0:
	case r.GPUMemory > 0 || r.Exclusive:
		r.GPUs = limits.Needs(*r)
	default:
		n, err := usual()
		if err != nil {
			return err
		}
		r.GPUs = n
	}
	limits.Slots = api.MostSlots // how many run at once can be changed
	switch why := limits.Never(*r); {
	case r.GPUs < 0 && r.GPUMemory > 0 && limits.GPUsUnknown == "":
		return api.Errorf(api.CodeUsage, "the job needs a GPU, and this instance has none")
	case why != "":
		return api.Errorf(api.CodeUsage, "the job can never start here: %s", why).WithHint("berth top NAME --once shows the GPUs")
	}
	return nil
}

// settleGPUs is settle with what is set of this queue.
func (s *service) settleGPUs(ctx context.Context, l *loop, spec *queue.Spec) error {
	return l.gpus.settle(ctx, spec, func() (int, error) {
		k, err := readLimits(s.dir())
		return k.usualGPUs(), err
	})
}

// gpusOf are the GPUs of a sample as the plan wants them.
func gpusOf(s *gpu.Sample) (out []plan.GPU) {
	sets := setsOf(s)
	for i := range s.GPUs {
		d := &s.GPUs[i]
		unit := plan.GPU{GPU: queue.GPU{UUID: d.UUID, Index: d.Index}, Memory: bytesOf(d.MemoryTotal),
			Used: bytesOf(d.MemoryUsed), Near: sets[d.Index], Fault: faultOf(d)}
		if d.MIGEnabled == nil || !*d.MIGEnabled {
			unit.Users = usersOf(s, d, nil)
			out = append(out, unit)
			continue
		}
		unit.MIG = true
		for j := range d.MIG {
			m := &d.MIG[j]
			unit.UUID, unit.Memory, unit.Used = m.UUID, bytesOf(m.MemoryTotal), bytesOf(m.MemoryUsed)
			unit.Users = usersOf(s, d, m)
			out = append(out, unit)
		}
	}
	return out
}

func bytesOf(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

// faultOf is what a GPU had last that was its own.
func faultOf(d *gpu.GPU) plan.Fault {
	switch x := d.LastXID; {
	case d.Error != "":
		return plan.Fault{Text: d.Error, Lost: true}
	case x != nil && !x.Application:
		return plan.Fault{Text: fmt.Sprintf("XID %d: %s", x.Code, x.Meaning), At: x.At}
	}
	return plan.Fault{}
}

// usersOf are the processes that use a GPU, or a MIG instance of it, and what else it is not given away for. What only
// draws on it, as a desktop does, is not counted.
func usersOf(s *gpu.Sample, d *gpu.GPU, mig *gpu.MIG) (users []plan.User) {
	if d.Error != "" {
		users = append(users, plan.User{Text: "it gives no figures (" + d.Error + ")"})
	}
	if x := d.LastXID; d.Error == "" && x != nil && !x.Application && x.Severity == "critical" {
		if age := s.SampledAt.Sub(x.At); age >= 0 && age < faultFor {
			users = append(users, plan.User{Text: fmt.Sprintf("it had XID %d (%s), and is kept out until %s", x.Code, x.Meaning,
				x.At.Add(faultFor).UTC().Format("15:04 UTC"))})
		}
	}
	if d.ComputeMode == "prohibited" {
		users = append(users, plan.User{Text: "its compute mode allows no program"})
	}
	for i := range s.Processes {
		p := &s.Processes[i]
		if p.GPUIndex == nil || *p.GPUIndex != d.Index || p.GPUKind == "graphics" || p.Owner.Kind == "agent" ||
			mig != nil && p.MIG != nil && *p.MIG != mig.Index {
			continue
		}
		u := plan.User{Text: fmt.Sprintf("%s of %s (process %d)", shortCommand(p.Command), p.User, p.PID), Since: p.StartedAt}
		if p.Command == "" { // of another PID namespace, or it is about to end
			u.Text = fmt.Sprintf("process %d, of which no more is known", p.PID)
		}
		if p.Owner.Kind == "job" {
			if id, err := queue.ParseID(p.Owner.ID); err == nil {
				u.Job, u.Text = id, "job "+id.String()+", which it was not given to"
			}
		}
		users = append(users, u)
	}
	slices.SortStableFunc(users, func(a, b plan.User) int { return strings.Compare(a.Text, b.Text) })
	return users
}

// shortCommand is the beginning of a command line, its program without the folder.
func shortCommand(command string) string {
	const most = 40
	program, rest, _ := strings.Cut(command, " ")
	short := []rune(program[strings.LastIndexByte(program, '/')+1:])
	if rest != "" {
		short = append(append(short, ' '), []rune(rest)...)
	}
	if len(short) > most {
		short = append(short[:most-1], '…')
	}
	return string(short)
}

// setsOf are the numbers of the sets of GPUs that NVLink or PCIe switches join, by the indices of the GPUs.
func setsOf(s *gpu.Sample) map[int]int {
	set := map[int]int{}
	for _, d := range s.GPUs {
		set[d.Index] = d.Index
	}
	for _, l := range s.Topology {
		if l.Kind != "PIX" && l.Kind != "PXB" && !strings.HasPrefix(l.Kind, "NV") {
			continue
		}
		from, to := max(set[l.A], set[l.B]), min(set[l.A], set[l.B])
		for i, n := range set {
			if n == from {
				set[i] = to
			}
		}
	}
	return set
}

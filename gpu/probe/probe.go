package probe

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"berth/gpu"
)

// Options are how a Probe works. Only Commands or Find is needed.
type Options struct {
	// Commands are the child's command lines, best first. One that never gives figures makes place for the next.
	Commands [][]string
	// Find gives them where Commands is empty, once there may be a driver. Its error is logged.
	Find func() ([][]string, error)
	// Env is added to the child's environment, which is otherwise this process's own.
	Env []string
	// Every is the interval to begin with; 0: 10 s.
	Every time.Duration
	// Present says whether there may be a driver; nil: gpu.Present, or a library named in the environment.
	Present func() bool
	// Notify is called with each new state, from the probe's goroutine; it must not block. Silence is no new state:
	// Latest tells it.
	Notify func(State)
	Log    *slog.Logger // nil: none

	pace pace
}

// pace is what tests make faster.
type pace struct {
	recheck    time.Duration // how often a host without GPUs is looked at again
	first      time.Duration // a driver without persistence mode takes long for its first answer
	silent     time.Duration // at least so long without a line, beside 3 intervals, makes figures stale
	kill       time.Duration // at least so long, beside 6 intervals, ends the child
	backoff    time.Duration // the first pause; it doubles
	maxBackoff time.Duration
	healthy    time.Duration // a child that gave figures for so long resets the pauses
	reap       time.Duration // how long the end of a killed child is waited for
}

func (p *pace) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&p.recheck, 30*time.Second)
	set(&p.first, 30*time.Second)
	set(&p.silent, 3*time.Second)
	set(&p.kill, 10*time.Second)
	set(&p.backoff, time.Second)
	set(&p.maxBackoff, time.Minute)
	set(&p.healthy, time.Minute)
	set(&p.reap, 2*time.Second)
}

// State is what is known of the GPUs.
type State struct {
	// Reading is the last one with figures; zero (GPUs nil) if there never was one.
	Reading gpu.Reading
	// Age is since when no newer reading came.
	Age time.Duration
	// Reason says why there are no figures, or why they are stale, in plain words; empty: all is well.
	Reason string
	// Stale says that Reading is older than it should be.
	Stale bool
	// Restarts counts how often the child was replaced.
	Restarts int
	// PID is the child's; 0: none runs.
	PID int
}

// Probe is a supervised child.
type Probe struct {
	o      Options
	cancel context.CancelFunc
	done   chan struct{}
	pacing chan struct{} // the interval changed

	mu       sync.Mutex
	every    time.Duration
	paced    time.Time // when the interval changed
	reading  gpu.Reading
	received time.Time // of reading, monotonic
	reason   string
	restarts int
	pid      int
	memory   memory // of the goroutine
}

// NoDriver is the reason on a host without an NVIDIA driver.
const NoDriver = "no NVIDIA driver is loaded on this host"

// New begins to supervise. The probe must be closed.
func New(o Options) *Probe {
	if o.Every <= 0 {
		o.Every = 10 * time.Second
	}
	if o.Present == nil {
		o.Present = Present
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.pace.defaults()
	ctx, cancel := context.WithCancel(context.Background())
	p := &Probe{o: o, cancel: cancel, done: make(chan struct{}), pacing: make(chan struct{}, 1), every: o.Every,
		paced: time.Now()}
	go func() {
		defer close(p.done)
		p.run(ctx)
	}()
	return p
}

// Present reports, at no cost, whether there may be a driver: gpu.Present, or a library named in the environment.
func Present() bool {
	// The names are those of gpu/nvml and gpu/smi, which this package does not link.
	return gpu.Present() || os.Getenv("BERTH_NVML_LIBRARY") != "" || os.Getenv("BERTH_NVIDIA_SMI") != ""
}

// Latest returns what is known now. It never blocks.
func (p *Probe) Latest() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state()
}

// state needs mu.
func (p *Probe) state() State {
	s := State{Reading: p.reading, Reason: p.reason, Restarts: p.restarts, PID: p.pid}
	if p.received.IsZero() {
		if s.Reason == "" {
			s.Reason = "the GPUs have not been asked yet"
		}
		return s
	}
	now := time.Now()
	s.Age = now.Sub(p.received)
	since := p.received
	if p.paced.After(since) {
		since = p.paced // figures of a slower pace are not stale at once
	}
	if silent := now.Sub(since); s.Reason == "" && silent > max(3*p.every, p.o.pace.silent) {
		s.Reason = "the NVIDIA driver has not answered for " + silent.Round(time.Second).String() + ": a call may hang in it"
	}
	s.Stale = s.Reason != ""
	return s
}

// Every sets the interval (100 ms to 1 h). A shorter one asks at once.
func (p *Probe) Every(d time.Duration) {
	d = min(max(d, 100*time.Millisecond), time.Hour)
	p.mu.Lock()
	changed := d != p.every
	if changed {
		p.every, p.paced = d, time.Now()
	}
	p.mu.Unlock()
	if changed {
		select {
		case p.pacing <- struct{}{}:
		default:
		}
	}
}

func (p *Probe) interval() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.every
}

// Close ends the child. It does not wait for one that hangs in the driver.
func (p *Probe) Close() error {
	p.cancel()
	<-p.done
	return nil
}

// set changes what is known, and tells.
func (p *Probe) set(change func()) {
	p.mu.Lock()
	change()
	s := p.state()
	p.mu.Unlock()
	if p.o.Notify != nil {
		p.o.Notify(s)
	}
}

// run starts a child after another.
func (p *Probe) run(ctx context.Context) {
	pause, which, fruitless := p.o.pace.backoff, 0, 0
	broken := map[int]bool{} // commands that end without a word
	for ctx.Err() == nil {
		if !p.o.Present() {
			p.memory = memory{}
			p.set(func() { p.reading, p.received, p.reason = gpu.Reading{}, time.Time{}, NoDriver })
			pause, which, fruitless = p.o.pace.backoff, 0, 0
			sleep(ctx, p.o.pace.recheck)
			continue
		}
		if len(p.o.Commands) == 0 && p.o.Find != nil {
			commands, err := p.o.Find()
			if err != nil {
				p.o.Log.Warn("a GPU probe can't be used", "err", err)
			}
			p.o.Commands = commands
		}
		if len(p.o.Commands) == 0 {
			p.set(func() { p.reason = "this program has no way to ask the NVIDIA driver" })
			sleep(ctx, p.o.pace.recheck)
			continue
		}
		out := p.session(ctx, p.o.Commands[which])
		if ctx.Err() != nil {
			return
		}
		if out.err != nil {
			p.o.Log.Warn("the GPU probe ended", "command", p.o.Commands[which][0], "err", out.err, "readings", out.readings)
			p.set(func() { p.reason = out.err.Error() })
		}
		if out.readings > 0 && out.lasted >= p.o.pace.healthy {
			pause, fruitless = p.o.pace.backoff, 0
		} else {
			fruitless++
		}
		// A program that can't run here makes place for the next one, and so does one that is no use time after time.
		if n := len(p.o.Commands); n > 1 && (out.broken || fruitless >= 5) {
			if out.broken {
				broken[which] = true
				pause = p.o.pace.backoff
			}
			if len(broken) == n {
				clear(broken) // as a host changes they may run after all
				pause = p.o.pace.maxBackoff
			}
			for which = (which + 1) % n; broken[which]; {
				which = (which + 1) % n
			}
			fruitless = 0
		}
		sleep(ctx, pause)
		pause = min(2*pause, p.o.pace.maxBackoff)
		p.set(func() { p.restarts++ })
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

var errSilent = errors.New("the NVIDIA driver does not answer: a call hangs in it")

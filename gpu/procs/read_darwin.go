package procs

import (
	"context"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/process"

	"berth/gpu/procs/proc"
)

// psSource adds what gopsutil knows to what the kernel says of a process.
type psSource struct{ *proc.Reader }

func newSource(Options) source { return psSource{proc.NewReader("")} }

const askLimit = 2 * time.Second

// All implements source.
func (p psSource) All(each func(proc.Stat)) error {
	ctx, cancel := context.WithTimeout(context.Background(), askLimit)
	defer cancel()
	return p.Reader.All(func(s proc.Stat) { each(measured(ctx, s)) })
}

// One implements source.
func (p psSource) One(pid int) (proc.Stat, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askLimit)
	defer cancel()
	s, err := p.Reader.One(pid)
	if err != nil {
		return s, err
	}
	return measured(ctx, s), nil
}

// measured adds the use of processors and memory.
func measured(ctx context.Context, s proc.Stat) proc.Stat {
	p := &process.Process{Pid: int32(s.PID)}
	if v, err := p.TimesWithContext(ctx); err == nil {
		s.CPU = time.Duration((v.User + v.System) * float64(time.Second))
	}
	if v, err := p.MemoryInfoWithContext(ctx); err == nil {
		s.Memory = int64(v.RSS)
	}
	return s
}

func (psSource) details(pid int) details {
	ctx, cancel := context.WithTimeout(context.Background(), askLimit)
	defer cancel()
	d := details{uid: -1}
	if o, err := proc.NewReader("").Owner(pid); err == nil {
		d.uid = o.Effective
	}
	p := &process.Process{Pid: int32(pid)}
	if args, err := p.CmdlineSliceWithContext(ctx); err == nil {
		d.command = commandLine([]byte(strings.Join(args, "\x00")))
	}
	return d
}

var began = time.Now()

// threadTime is time that passed: more than the processor's, so that all are looked at rather too seldom.
func threadTime() time.Duration { return time.Since(began) }

func threadDone() {}

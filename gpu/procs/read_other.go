//go:build !linux

package procs

import (
	"context"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

// psSource asks gopsutil. A process starts at a time of the wall clock there, in milliseconds.
type psSource struct{}

func newSource(Options) source { return psSource{} }

const askLimit = 2 * time.Second

func (psSource) all(each func(stat)) error {
	ctx, cancel := context.WithTimeout(context.Background(), askLimit)
	defer cancel()
	list, err := process.ProcessesWithContext(ctx)
	if err != nil {
		return err
	}
	for _, p := range list {
		if s, ok := statOf(ctx, p); ok {
			each(s)
		}
	}
	return nil
}

func (psSource) one(pid int) (stat, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), askLimit)
	defer cancel()
	p, err := process.NewProcessWithContext(ctx, int32(pid))
	if err != nil {
		return stat{}, false
	}
	return statOf(ctx, p)
}

func statOf(ctx context.Context, p *process.Process) (stat, bool) {
	s := stat{pid: int(p.Pid), state: 'S'}
	start, err := p.CreateTimeWithContext(ctx)
	if err != nil {
		return s, false
	}
	s.start = uint64(start)
	if v, err := p.PpidWithContext(ctx); err == nil {
		s.ppid = int(v)
	}
	if v, err := p.NameWithContext(ctx); err == nil {
		s.comm = []byte(v)
	}
	if v, err := p.TimesWithContext(ctx); err == nil {
		s.cpu = time.Duration((v.User + v.System) * float64(time.Second))
	}
	if v, err := p.MemoryInfoWithContext(ctx); err == nil {
		s.memory = int64(v.RSS)
	}
	return s, true
}

func (psSource) details(pid int) details {
	ctx, cancel := context.WithTimeout(context.Background(), askLimit)
	defer cancel()
	d := details{uid: -1}
	p, err := process.NewProcessWithContext(ctx, int32(pid))
	if err != nil {
		return d
	}
	if ids, err := p.UidsWithContext(ctx); err == nil && len(ids) > 0 {
		d.uid = int(ids[0])
	}
	if args, err := p.CmdlineSliceWithContext(ctx); err == nil {
		d.command = commandLine([]byte(strings.Join(args, "\x00")))
	}
	return d
}

func (psSource) startedAgo(start uint64) time.Duration {
	return max(time.Since(time.UnixMilli(int64(start))), 0)
}

func foreign(string) bool { return false }

var began = time.Now()

// threadTime is time that passed: more than the processor's, so that all are looked at rather too seldom.
func threadTime() time.Duration { return time.Since(began) }

func threadDone() {}

package ui_test

import (
	"context"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"berth/backend/api"
	"berth/ui"
	"berth/ui/uitest"
)

// ptyFor opens a terminal and returns it with a channel that carries the time and size of each read
// from it.
type arrival struct {
	at time.Time
	n  int
}

func ptyFor(b *testing.B, rows, cols uint16) (ptm, tty *os.File, seen chan arrival) {
	b.Helper()
	ptm, tty, err := pty.Open()
	if err != nil {
		b.Fatal(err)
	}
	if err := pty.Setsize(ptm, &pty.Winsize{Rows: rows, Cols: cols}); err != nil {
		b.Fatal(err)
	}
	seen = make(chan arrival, 1<<16)
	go func() {
		defer close(seen)
		buf := make([]byte, 64<<10)
		for {
			n, err := ptm.Read(buf)
			if err != nil {
				return
			}
			seen <- arrival{time.Now(), n}
		}
	}()
	return ptm, tty, seen
}

// BenchmarkFirstFrame is the time from Run to the first frame with rows, with 10,000 instances.
func BenchmarkFirstFrame(b *testing.B) {
	ws := uitest.New(nil, uitest.Many(time.Now(), 10_000)...)
	for b.Loop() {
		ptm, tty, seen := ptyFor(b, 60, 200)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		from := time.Now()
		go func() {
			done <- ui.Run(ctx, ui.Options{Workspace: ws, In: tty, Out: tty,
				Getenv: func(k string) string { return utf8Env[k] }})
		}()
		for total := 0; total < 4000; { // more than the empty frame
			total += (<-seen).n
		}
		b.ReportMetric(float64(time.Since(from).Microseconds())/1000, "first-ms")
		cancel()
		<-done
		_ = tty.Close()
		_ = ptm.Close()
		for range seen { // until the reader is gone
		}
	}
}

// changing is a workspace with changes in its stream that no service has to make: what is measured is the dashboard.
type changing struct {
	*uitest.Workspace
	more chan api.Instance
}

// Watch implements screen.Workspace.
func (c changing) Watch(ctx context.Context, each func(api.Change) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	one := func(ch api.Change) error {
		mu.Lock()
		defer mu.Unlock()
		return each(ch)
	}
	first := make(chan struct{})
	go func() {
		select {
		case <-first: // the whole fleet comes before what changes
		case <-ctx.Done():
			return
		}
		for {
			select {
			case in := <-c.more:
				if one(api.Change{Instance: &in}) != nil {
					cancel()
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return c.Workspace.Watch(ctx, func(ch api.Change) error {
		if ch.Complete {
			defer close(first)
		}
		return one(ch)
	})
}

// BenchmarkKeyToScreen presses keys on a real terminal while 1,000 of 10,000 instances change each
// second, and reports how long it takes until something is drawn.
func BenchmarkKeyToScreen(b *testing.B) {
	list := uitest.Many(time.Now(), 10_000)
	ws := changing{uitest.New(nil, list...), make(chan api.Instance)}
	ptm, tty, seen := ptyFor(b, 60, 200)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() {
		done <- ui.Run(ctx, ui.Options{Workspace: ws, In: tty, Out: tty, Getenv: func(k string) string { return utf8Env[k] }})
	}()
	go func() {
		defer func() { done <- nil }()
		t := time.NewTicker(10 * time.Millisecond)
		defer t.Stop()
		for i := 0; ; i += 10 {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			for k := range 10 {
				in := list[(i+k)*37%len(list)]
				in.StateSince = time.Now()
				select {
				case ws.more <- in:
				case <-ctx.Done():
				}
			}
		}
	}()
	time.Sleep(time.Second)
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		for len(seen) > 0 {
			<-seen
		}
		from := time.Now()
		k := "j"
		if i%100 >= 50 {
			k = "k"
		}
		if _, err := ptm.WriteString(k); err != nil {
			b.Fatal(err)
		}
		took = append(took, (<-seen).at.Sub(from))
		time.Sleep(7 * time.Millisecond)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	cancel()
	<-done
	<-done
	_ = tty.Close()
	_ = ptm.Close()
}

// BenchmarkKeyToScreenWhileMeasured presses keys on a real terminal while 200 instances with 8 GPUs each are measured
// once a second, and reports how long it takes until something is drawn, and what all of it takes of one core.
func BenchmarkKeyToScreenWhileMeasured(b *testing.B) {
	list := uitest.Cluster(time.Now(), 200, 8)
	ws := uitest.New(nil, list...)
	lines := seconds(list)
	ptm, tty, seen := ptyFor(b, 60, 200)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() {
		done <- ui.Run(ctx, ui.Options{Workspace: ws, In: tty, Out: tty, Getenv: func(k string) string { return utf8Env[k] }})
	}()
	go func() {
		defer func() { done <- nil }()
		t := time.NewTicker(5 * time.Millisecond) // 200 a second
		defer t.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			s := lines[i/len(list)%len(lines)]
			l := s[i%len(s)]
			v := *l.Summary
			v.At = time.Now()
			l.Summary = &v
			ws.PutFigures(l)
		}
	}()
	time.Sleep(2 * time.Second)
	var took []time.Duration
	began, from := cpu(b), time.Now()
	for i := 0; b.Loop(); i++ {
		for len(seen) > 0 {
			<-seen
		}
		pressed := time.Now()
		k := "j"
		if i%100 >= 50 {
			k = "k"
		}
		if _, err := ptm.WriteString(k); err != nil {
			b.Fatal(err)
		}
		took = append(took, (<-seen).at.Sub(pressed))
		time.Sleep(100 * time.Millisecond) // ten keys a second
	}
	b.ReportMetric(100*(cpu(b)-began).Seconds()/time.Since(from).Seconds(), "core-%")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	cancel()
	<-done
	<-done
	_ = tty.Close()
	_ = ptm.Close()
}

package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"

	"berth/backend/transport/filecopy"
	"berth/ui/money"
)

// meter shows how far a copy is, in one line of a terminal; elsewhere it shows nothing.
type meter struct {
	w        io.Writer
	live     bool
	began    time.Time
	progress filecopy.Progress
	problems int

	mu    sync.Mutex
	said  int // problems
	shown bool
	stop  func()
	done  chan struct{}
}

// meterEvery is how often the line is drawn.
const meterEvery = 200 * time.Millisecond

func (a *app) newMeter() *meter {
	stop := make(chan struct{})
	m := &meter{w: a.err, live: terminal(a.err), began: time.Now(), done: make(chan struct{}),
		stop: sync.OnceFunc(func() { close(stop) })}
	go m.run(stop)
	return m
}

// common is what one side of a copy is given; the other one is at an instance.
func (m *meter) common(at string) filecopy.Common {
	return filecopy.Common{Peer: at, Problem: m.problem, Progress: &m.progress}
}

func (m *meter) run(stop <-chan struct{}) {
	defer close(m.done)
	if !m.live {
		return
	}
	t := time.NewTicker(meterEvery)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case now := <-t.C:
			m.mu.Lock()
			fmt.Fprintf(m.w, "\r\x1b[K%s", ansi.Truncate(m.line(now), columns(m.w)-1, "…"))
			m.shown = true
			m.mu.Unlock()
		}
	}
}

// line says how far it is: bytes, rate and what is left, where that is known.
func (m *meter) line(now time.Time) string {
	p := &m.progress
	bytes, total := p.Bytes.Load(), p.TotalBytes.Load()
	took := now.Sub(m.began).Seconds()
	rate := float64(bytes) / max(took, 0.001)
	s := money.Bytes(bytes)
	if total > 0 {
		done := min(float64(bytes)/float64(total), 1)
		n := int(done * barWidth)
		s = fmt.Sprintf("[%s%s] %s of %s", strings.Repeat("#", n), strings.Repeat("-", barWidth-n), s, money.Size(total))
	}
	s += fmt.Sprintf(", %d files, %s/s", p.Files.Load(), money.Bytes(int64(rate)))
	if total > bytes && rate > 0 {
		left := time.Duration(float64(total-bytes) / rate * float64(time.Second))
		s += fmt.Sprintf(", %s left", left.Round(time.Second))
	}
	return s
}

// clear takes the line back; mu is held.
func (m *meter) clear() {
	if m.shown {
		fmt.Fprint(m.w, "\r\x1b[K")
		m.shown = false
	}
}

// close ends the drawing. It may be called again.
func (m *meter) close() {
	m.stop()
	<-m.done
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clear()
}

package renderer

import (
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"

	"berth/backend/base/coalesce"
	"berth/backend/base/ttymodes"
)

const (
	// What had the screen before may have left it in any state: a string that never ends would hide every frame.
	enter = ttymodes.Clean + "\x1b[?1049h\x1b[?6l\x1b[?25l\x1b[?2004h\x1b[?1004h" // alternate screen, no cursor, bracketed paste, focus reports
	leave = "\x1b[?1004l\x1b[?2004l\x1b[0m\x1b[?25h\x1b[?1049l"

	mouseOn  = "\x1b[?1002h\x1b[?1006h"
	mouseOff = "\x1b[?1006l\x1b[?1002l"

	syncOn  = "\x1b[?2026h" // the terminal shows what follows in one go, if it knows this
	syncOff = "\x1b[?2026l"

	off = "\x1b[0m"
)

// between is the shortest time between two frames: a key is drawn almost at once, and a flood of changes
// is not drawn change by change.
const between = time.Second / 120

// many is from how many changed lines a frame is worth to be shown in one go.
const many = 4

// Renderer owns a terminal's screen between Start and Stop. Its methods may be called from any goroutine.
type Renderer struct {
	w    io.Writer
	wake coalesce.Signal
	quit chan struct{}
	done chan struct{}

	mu     sync.Mutex // what is wanted
	frame  string
	width  int
	height int
	fresh  bool

	out    sync.Mutex // what is on the terminal; held while writing
	active bool
	mouse  bool
	lines  []string
	lw, lh int
	buf    []byte
}

// New makes a painter for a terminal.
func New(w io.Writer) *Renderer {
	return &Renderer{w: w, wake: coalesce.NewSignal(), quit: make(chan struct{}), done: make(chan struct{})}
}

// Start takes the screen, with the mouse if asked to, and begins to paint.
func (p *Renderer) Start(mouse bool) {
	p.mouse = mouse
	p.Resume()
	go p.loop()
}

// stuck is how long Stop waits for a terminal that takes no output.
const stuck = time.Second

// Stop ends painting and gives the screen back. A terminal that takes no output can't keep the program
// from ending.
func (p *Renderer) Stop() {
	close(p.quit)
	t := time.NewTimer(stuck)
	defer t.Stop()
	select {
	case <-p.done:
		p.Pause()
	case <-t.C:
	}
}

// Pause gives the screen back for another program. It waits for a frame that is being written.
func (p *Renderer) Pause() {
	p.out.Lock()
	defer p.out.Unlock()
	if !p.active {
		return
	}
	p.active = false
	s := leave
	if p.mouse {
		s = mouseOff + s
	}
	_, _ = io.WriteString(p.w, s) // a terminal that is gone is noticed by who reads from it
}

// Resume takes the screen again and draws all of it.
func (p *Renderer) Resume() {
	p.out.Lock()
	if !p.active {
		p.active = true
		p.lines = nil
		s := enter
		if p.mouse {
			s += mouseOn
		}
		_, _ = io.WriteString(p.w, s)
	}
	p.out.Unlock()
	p.again()
}

// Mouse takes the mouse or lets it go.
func (p *Renderer) Mouse(on bool) {
	p.out.Lock()
	defer p.out.Unlock()
	if p.mouse == on {
		return
	}
	p.mouse = on
	if !p.active {
		return
	}
	s := mouseOff
	if on {
		s = mouseOn
	}
	_, _ = io.WriteString(p.w, s)
}

// Write sends a sequence of its own (a clipboard, a question) between two frames.
func (p *Renderer) Write(s string) error {
	p.out.Lock()
	defer p.out.Unlock()
	_, err := io.WriteString(p.w, s)
	return err
}

// Repaint draws the whole screen anew.
func (p *Renderer) Repaint() {
	p.out.Lock()
	p.lines = nil
	p.out.Unlock()
	p.again()
}

func (p *Renderer) again() {
	p.mu.Lock()
	p.fresh = p.frame != ""
	p.mu.Unlock()
	p.wake.Send()
}

// Frame gives the newest frame, lines joined by line ends, for a screen of w by h cells.
func (p *Renderer) Frame(frame string, w, h int) {
	p.mu.Lock()
	if frame == p.frame && w == p.width && h == p.height {
		p.mu.Unlock()
		return
	}
	p.frame, p.width, p.height, p.fresh = frame, w, h, true
	p.mu.Unlock()
	p.wake.Send()
}

func (p *Renderer) loop() {
	defer close(p.done)
	var last time.Time
	for {
		select {
		case <-p.quit:
			return
		case <-p.wake:
		}
		if d := between - time.Since(last); d > 0 {
			t := time.NewTimer(d)
			select {
			case <-p.quit:
				t.Stop()
				return
			case <-t.C:
			}
		}
		p.Paint()
		last = time.Now()
	}
}

// Paint writes the newest frame now, for whoever runs a Renderer without Start.
func (p *Renderer) Paint() {
	p.out.Lock()
	defer p.out.Unlock()
	if !p.active {
		return
	}
	p.mu.Lock()
	frame, w, h, fresh := p.frame, p.width, p.height, p.fresh
	p.fresh = false
	p.mu.Unlock()
	if !fresh {
		return
	}
	lines := strings.Split(frame, "\n")
	if len(lines) > h {
		lines = lines[:h]
	}
	whole := p.lines == nil || w != p.lw || h != p.lh
	changed := 0
	p.buf = append(p.buf[:0], syncOn...)
	if !whole {
		p.buf = p.scroll(p.buf, lines)
	}
	for i, l := range lines {
		switch {
		case whole:
			p.buf = move(p.buf, i, 0)
			p.buf = append(p.buf, l...)
			if ansi.StringWidth(l) < w { // at the edge it would erase the last character
				p.buf = append(p.buf, off+"\x1b[K"...)
			}
			changed++
		case i >= len(p.lines):
			p.buf = line(p.buf, i, "", l)
			changed++
		case p.lines[i] != l:
			p.buf = line(p.buf, i, p.lines[i], l)
			changed++
		}
	}
	if whole && len(lines) < h {
		p.buf = move(p.buf, len(lines), 0)
		p.buf = append(p.buf, "\x1b[J"...)
	}
	p.lines, p.lw, p.lh = lines, w, h
	if changed == 0 {
		return
	}
	b := p.buf[len(syncOn):]
	if changed >= many {
		p.buf = append(p.buf, syncOff...)
		b = p.buf
	}
	_, _ = p.w.Write(b) // a terminal that is gone is noticed by who reads from it
}

func move(b []byte, line, col int) []byte {
	b = append(b, "\x1b["...)
	b = strconv.AppendInt(b, int64(line+1), 10)
	if col > 0 {
		b = append(b, ';')
		b = strconv.AppendInt(b, int64(col+1), 10)
	}
	return append(b, 'H')
}

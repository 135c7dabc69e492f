package attach

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"berth/backend/api"
	"berth/backend/base/plaintext"
)

// prompt asks the service's questions on a raw terminal: what is typed meanwhile is the answer.
type prompt struct {
	w     io.Writer
	among bool          // the question stands among the lines of a shell, and says whose it is
	turn  chan struct{} // held by the question on the screen

	mu     sync.Mutex
	open   bool
	secret bool
	buf    []byte
	done   chan answer
}

// answer is the line that was typed, or an error where none was.
type answer struct {
	text    string
	refused bool
	err     error
}

func newPrompt(w io.Writer, among bool) *prompt {
	return &prompt{w: w, among: among, turn: make(chan struct{}, 1)}
}

// ask puts one question and waits for the line that answers it. Escape refuses the answer; ctrl-C and ctrl-D are
// api.ErrInterrupted.
func (p *prompt) ask(ctx context.Context, q api.Question) (api.Answer, error) {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return api.Answer{}, ctx.Err()
	}
	defer func() { <-p.turn }()
	return p.wait(ctx, q, p.begin(q))
}

// begin writes a question: from here on keys are its answer.
func (p *prompt) begin(q api.Question) chan answer {
	p.mu.Lock()
	done := make(chan answer, 1)
	p.open, p.secret, p.buf, p.done = true, q.Kind == "secret", nil, done
	p.mu.Unlock()
	var b strings.Builder
	switch title := plaintext.Clean(q.Title); {
	case p.among:
		fmt.Fprintf(&b, "\r\n[berth: %s]\r\n", title)
	case title != "":
		b.WriteString("\r\x1b[K" + title + "\r\n") // a line of progress may stand there
	}
	for _, l := range plaintext.Lines(q.Text) {
		b.WriteString(l + "\r\n")
	}
	if q.Kind == "confirm" {
		b.WriteString("[y/N] ")
	} else {
		b.WriteString("> ")
	}
	fmt.Fprint(p.w, b.String())
	return done
}

// wait waits for the answer of the question that was begun.
func (p *prompt) wait(ctx context.Context, q api.Question, done chan answer) (api.Answer, error) {
	defer func() {
		p.mu.Lock()
		p.open = false
		p.mu.Unlock()
	}()
	select {
	case a := <-done:
		switch {
		case a.err != nil, a.refused:
			return api.Answer{Refused: true}, a.err
		case q.Kind != "confirm":
			return api.Answer{Value: a.text}, nil
		}
		if s := strings.ToLower(strings.TrimSpace(a.text)); s == "y" || s == "yes" {
			return api.Answer{Value: "yes"}, nil
		}
		return api.Answer{Value: "no"}, nil
	case <-ctx.Done():
		if p.among {
			fmt.Fprint(p.w, "\r\n[berth: the question was withdrawn]")
		}
		fmt.Fprint(p.w, "\r\n")
		return api.Answer{}, ctx.Err()
	}
}

// feed takes keys for the open question and reports whether there is one.
func (p *prompt) feed(b []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open {
		return false
	}
	b = plainKeys(b)
	for i, c := range b {
		switch {
		case c == '\r' || c == '\n':
			p.finish(answer{text: string(p.buf)})
			return true
		case c == 3 || c == 4:
			p.finish(answer{err: api.ErrInterrupted})
			return true
		case c == 0x1b:
			if i == len(b)-1 { // else it begins what a key sends that means nothing here
				p.finish(answer{refused: true})
			}
			return true
		case c == 0x15: // ctrl-U
			p.rub(utf8.RuneCount(p.buf))
		case c == 0x7f || c == 8:
			p.rub(1)
		case c >= 0x20 && len(p.buf) < 4096:
			p.buf = append(p.buf, c)
			if !p.secret {
				_, _ = p.w.Write([]byte{c})
			}
		}
	}
	return true
}

// rub takes back the last n characters; p.mu is held.
func (p *prompt) rub(n int) {
	for ; n > 0 && len(p.buf) > 0; n-- {
		_, size := utf8.DecodeLastRune(p.buf)
		p.buf = p.buf[:len(p.buf)-size]
		if !p.secret {
			fmt.Fprint(p.w, "\b \b")
		}
	}
}

// hangUp ends the open question, if there is one: the terminal is gone.
func (p *prompt) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		p.finish(answer{err: api.ErrInterrupted})
	}
}

// finish ends the open question; p.mu is held.
func (p *prompt) finish(a answer) {
	fmt.Fprint(p.w, "\r\n")
	p.open = false
	p.done <- a
}

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

// prompt asks the service's questions on the raw terminal: what is typed meanwhile is the answer.
type prompt struct {
	w    io.Writer
	turn chan struct{} // held by the question on the screen

	mu     sync.Mutex
	open   bool
	secret bool
	buf    []byte
	done   chan answer
}

type answer struct {
	text    string
	refused bool
}

func newPrompt(w *tracked) *prompt {
	return &prompt{w: w.w, turn: make(chan struct{}, 1)}
}

// ask puts one question and waits for the line that answers it.
func (p *prompt) ask(ctx context.Context, q api.Question) (api.Answer, error) {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return api.Answer{}, ctx.Err()
	}
	defer func() { <-p.turn }()
	p.mu.Lock()
	done := make(chan answer, 1)
	p.open, p.secret, p.buf, p.done = true, q.Kind == "secret", nil, done
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.open = false
		p.mu.Unlock()
	}()
	var b strings.Builder
	fmt.Fprintf(&b, "\r\n[berth: %s]\r\n", plaintext.Clean(q.Title))
	for _, l := range plaintext.Lines(q.Text) {
		b.WriteString(l + "\r\n")
	}
	if q.Kind == "confirm" {
		b.WriteString("yes or no: ")
	} else {
		b.WriteString("> ")
	}
	fmt.Fprint(p.w, b.String())
	select {
	case a := <-done:
		if a.refused {
			return api.Answer{Refused: true}, nil
		}
		if q.Kind == "confirm" {
			if s := strings.ToLower(strings.TrimSpace(a.text)); s == "y" || s == "yes" {
				return api.Answer{Value: "yes"}, nil
			}
			return api.Answer{Value: "no"}, nil
		}
		return api.Answer{Value: a.text}, nil
	case <-ctx.Done():
		fmt.Fprint(p.w, "\r\n[berth: the question was withdrawn]\r\n")
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
	for _, c := range b {
		switch {
		case c == '\r' || c == '\n':
			fmt.Fprint(p.w, "\r\n")
			p.finish(answer{text: string(p.buf)})
			return true
		case c == 3 || c == 4 || c == 0x1b:
			fmt.Fprint(p.w, "\r\n")
			p.finish(answer{refused: true})
			return true
		case c == 0x7f || c == 8:
			if len(p.buf) > 0 {
				_, n := utf8.DecodeLastRune(p.buf)
				p.buf = p.buf[:len(p.buf)-n]
				if !p.secret {
					fmt.Fprint(p.w, "\b \b")
				}
			}
		case c >= 0x20 && len(p.buf) < 4096:
			p.buf = append(p.buf, c)
			if !p.secret {
				_, _ = p.w.Write([]byte{c})
			}
		}
	}
	return true
}

func (p *prompt) finish(a answer) {
	p.open = false
	p.done <- a
}

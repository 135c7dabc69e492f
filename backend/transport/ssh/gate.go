package ssh

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// sessionLimit is how many sessions one connection opens: OpenSSH's MaxSessions is 10.
const sessionLimit = 9

// gate keeps the number of open sessions below what the server allows, which it learns from refusals.
type gate struct {
	mu    sync.Mutex
	used  int
	limit int
	freed chan struct{} // closed and renewed when a session ends
}

func newGate() *gate { return &gate{limit: sessionLimit, freed: make(chan struct{})} }

// open opens a session, waiting for room unless noWait is set. The session counts until release is
// called. line is closed when the line is gone.
func (g *gate) open(ctx context.Context, client *gossh.Client, line <-chan struct{},
	noWait bool) (s *gossh.Session, release func(), err error) {
	for attempt := 0; ; attempt++ {
		if noWait && g.full() {
			return nil, nil, errFull
		}
		if err := g.enter(ctx); err != nil {
			return nil, nil, err
		}
		s, err := opened(ctx, line, client.NewSession)
		if err == nil {
			return s, g.leave, nil
		}
		var refused *gossh.OpenChannelError
		if !errors.As(err, &refused) {
			g.leave()
			return nil, nil, err
		}
		others := g.refuse()
		if others == 0 && attempt >= 20 {
			return nil, nil, fmt.Errorf("the server opens no session: %w", err)
		}
		// The server counts a session for a moment longer than we do.
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(time.Duration(5+5*attempt) * time.Millisecond):
		}
	}
}

func (g *gate) enter(ctx context.Context) error {
	for {
		g.mu.Lock()
		if g.used < g.limit {
			g.used++
			g.mu.Unlock()
			return nil
		}
		freed := g.freed
		g.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	g.used--
	close(g.freed)
	g.freed = make(chan struct{})
	g.mu.Unlock()
}

// refuse takes note that the server allows no more than the other sessions, and returns their number.
func (g *gate) refuse() int {
	g.leave()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.used > 0 {
		g.limit = min(g.limit, g.used)
	}
	return g.used
}

// full reports whether a session would have to wait.
func (g *gate) full() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.used >= g.limit
}

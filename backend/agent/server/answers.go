package server

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// answerLimit is how long an agent that leaves waits for the answers under way.
const answerLimit = 2 * time.Second

// unanswered counts the connections that were accepted and have a request, or may send their first one any moment.
// http.Server's Shutdown closes those whose request it has not read yet, without an answer.
type unanswered struct{ n atomic.Int64 }

// note is the server's ConnState. The calls for one connection come one after the other.
func (u *unanswered) note(conn net.Conn, st http.ConnState) {
	c, ok := conn.(*counted)
	waits := st == http.StateNew || st == http.StateActive
	if !ok || c.waits == waits {
		return
	}
	c.waits = waits
	if waits {
		u.n.Add(1)
	} else {
		u.n.Add(-1)
	}
}

// finishAnswers gives every connection that was accepted its answer. The socket is closed; streams are not waited for.
func (a *Agent) finishAnswers() {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	accepted := make(chan struct{})
	go func() { // ends when the last one that accepts has seen that the socket is closed
		defer close(accepted)
		a.serving.Wait()
	}()
	select {
	case <-accepted: // and counted
	case <-ctx.Done():
	}
	for a.unanswered.n.Load() > 0 && ctx.Err() == nil {
		time.Sleep(2 * time.Millisecond)
	}
	_ = a.srv.Shutdown(ctx) // what took longer is cut off
}

// lastAnswers makes an agent that leaves close each connection with its next answer: the call after it is the next
// agent's.
func (a *Agent) lastAnswers(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-a.quit:
			w.Header().Set("Connection", "close")
		default:
			a.mu.Lock()
			draining := a.draining
			a.mu.Unlock()
			if draining {
				w.Header().Set("Connection", "close")
			}
		}
		h.ServeHTTP(w, r)
	})
}

package server

import (
	"sync"
	"time"

	"berth/backend/api"
)

const (
	keptEvents = 256
	eventQueue = 64 // of one follower; one that is slower is cut off and calls again
)

// events keeps the last things that happened and tells them to followers.
type events struct {
	mu     sync.Mutex
	seq    int64
	last   []api.Event
	subs   map[chan api.Event]struct{}
	closed bool
}

func newEvents() *events { return &events{subs: map[chan api.Event]struct{}{}} }

func (e *events) add(kind, level, message string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seq++
	ev := api.Event{Seq: e.seq, Time: time.Now().UTC(), Kind: kind, Level: level, Message: message}
	if len(e.last) == keptEvents {
		e.last = append(e.last[:0], e.last[1:]...)
	}
	e.last = append(e.last, ev)
	for c := range e.subs {
		select {
		case c <- ev:
		default:
			delete(e.subs, c)
			close(c)
		}
	}
}

// follow returns the events that are kept and a channel of those to come, closed at the end.
func (e *events) follow() ([]api.Event, chan api.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := make(chan api.Event, eventQueue)
	if e.closed {
		close(c)
	} else {
		e.subs[c] = struct{}{}
	}
	return append([]api.Event(nil), e.last...), c
}

func (e *events) unfollow(c chan api.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.subs, c)
}

func (e *events) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	for c := range e.subs {
		delete(e.subs, c)
		close(c)
	}
}

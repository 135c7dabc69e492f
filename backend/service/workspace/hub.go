package workspace

import (
	"context"
	"sync"

	"berth/backend/api"
	"berth/backend/base/coalesce"
)

// maxQueuedEvents bounds what one slow subscriber keeps waiting; older events are in the store.
const maxQueuedEvents = 2000

// hub passes changes to subscribers without ever waiting for one.
type hub struct {
	mu     sync.Mutex
	subs   map[*Subscription]struct{}
	closed bool
}

func newHub() *hub { return &hub{subs: map[*Subscription]struct{}{}} }

func (h *hub) empty() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.subs) == 0
}

func (h *hub) publish(c api.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		s.add(c)
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for s := range h.subs {
		s.end()
	}
}

// Subscription is one client's view of the changes. Of several changes of one instance or operation
// that wait, only the newest is kept.
type Subscription struct {
	hub    *hub
	mu     sync.Mutex
	latest coalesce.Queue[string, api.Change]
	events []api.Change
	ready  coalesce.Signal
	closed bool
}

func (h *hub) subscribe() *Subscription {
	s := &Subscription{hub: h, ready: coalesce.NewSignal()}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		s.closed = true
	} else {
		h.subs[s] = struct{}{}
	}
	return s
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	delete(s.hub.subs, s)
	s.hub.mu.Unlock()
	s.end()
}

func (s *Subscription) end() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.ready.Send()
}

func (s *Subscription) add(c api.Change) {
	s.mu.Lock()
	switch {
	case c.Event != nil:
		if len(s.events) >= maxQueuedEvents {
			s.events = append(s.events[:0], s.events[maxQueuedEvents/2:]...)
		}
		s.events = append(s.events, c)
	default:
		s.latest.Put(changeKey(c), c)
	}
	s.mu.Unlock()
	s.ready.Send()
}

func changeKey(c api.Change) string {
	switch {
	case c.Operation != nil:
		return "o" + c.Operation.ID
	case c.Instance != nil:
		return "i" + c.Instance.ID
	}
	return "i" + c.Removed // a removal replaces what waits for that instance
}

// Next waits for changes and returns all that wait; nil after the end of ctx or the subscription.
func (s *Subscription) Next(ctx context.Context) []api.Change {
	for {
		s.mu.Lock()
		if s.latest.Len()+len(s.events) > 0 {
			out := append(s.latest.Take(), s.events...)
			s.events = nil
			s.mu.Unlock()
			return out
		}
		closed := s.closed
		s.mu.Unlock()
		if closed {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.ready:
		}
	}
}

// Subscribe returns a subscription and the fleet as it is now; nothing that happens after is missed. Both are the same
// for everybody: For makes of them what a caller may see.
func (w *Workspace) Subscribe() (*Subscription, []api.Instance) {
	s := w.hub.subscribe()
	return s, w.list(api.ListOptions{}, func(*api.Instance) bool { return true })
}

// SubscribeEvents returns a subscription without a snapshot.
func (w *Workspace) SubscribeEvents() *Subscription { return w.hub.subscribe() }

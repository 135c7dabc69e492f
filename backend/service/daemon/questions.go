package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"berth/backend/api"
)

// answerWithin is how long a question waits for its answer.
const answerWithin = 2 * time.Minute

// questions carries questions to the client that caused them.
type questions struct {
	mu      sync.Mutex
	pending map[string]*pending                   // by question id
	streams map[string]map[chan api.Question]bool // by client id
}

type pending struct {
	client string
	q      api.Question
	answer chan api.Answer
}

func newQuestions() *questions {
	return &questions{pending: map[string]*pending{}, streams: map[string]map[chan api.Question]bool{}}
}

// ask puts q to the client and waits. The client may open its stream of questions only after the
// question: it waits until then.
func (s *questions) ask(ctx context.Context, client string, q api.Question) (string, error) {
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
	q.ID = "q-" + hex.EncodeToString(b[:])
	p := &pending{client: client, q: q, answer: make(chan api.Answer, 1)}
	s.mu.Lock()
	s.pending[q.ID] = p
	for ch := range s.streams[client] {
		ch <- q // buffered for every question there can be; see stream
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.pending, q.ID)
		s.mu.Unlock()
	}()
	t := time.NewTimer(answerWithin)
	defer t.Stop()
	select {
	case a := <-p.answer:
		if a.Refused {
			return "", api.Errorf(api.CodeNoAnswer, "%s: not answered", q.Title)
		}
		return a.Value, nil
	case <-t.C:
		return "", api.Errorf(api.CodeNoAnswer, "%s: nobody answered within %s", q.Title, answerWithin)
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// stream opens a client's stream of questions, those waiting first.
func (s *questions) stream(client string) (ch chan api.Question, done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// One client has few questions at once; a full channel would block ask, so it is far too large.
	ch = make(chan api.Question, 1024)
	for _, p := range s.pending {
		if p.client == client {
			ch <- p.q
		}
	}
	if s.streams[client] == nil {
		s.streams[client] = map[chan api.Question]bool{}
	}
	s.streams[client][ch] = true
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.streams[client], ch)
		if len(s.streams[client]) == 0 {
			delete(s.streams, client)
		}
	}
}

// reply passes an answer on.
func (s *questions) reply(id string, a api.Answer) error {
	s.mu.Lock()
	p := s.pending[id]
	s.mu.Unlock()
	if p == nil {
		return api.Errorf(api.CodeNotFound, "no question %s waits: it was answered elsewhere, or too late", id)
	}
	select {
	case p.answer <- a:
		return nil
	default:
		return fmt.Errorf("question %s has its answer already", id)
	}
}

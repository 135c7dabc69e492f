package daemon

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/coalesce"
)

const (
	// answerWithin is how long a question waits for its answer.
	answerWithin = 2 * time.Minute
	// clientAway is how long a client with a question may be without its stream: it opens the stream only when a call
	// takes longer, and opens it again when the daemon is another.
	clientAway = 5 * time.Second
)

// asked is whom a question is for: a client of a principal. Nobody else sees it, or may answer it.
type asked struct{ principal, client string }

// askedOf is who calls.
func askedOf(ctx context.Context) asked {
	c := backend.CallerFrom(ctx)
	return asked{c.Principal.ID, c.Client}
}

// questions carries questions to the clients that caused them. It is safe for concurrent use.
type questions struct {
	within, away time.Duration // answerWithin and clientAway, but in tests

	mu      sync.Mutex
	last    int64               // number of the last question
	pending map[string]*pending // by question id
	streams map[asked]map[*questionStream]bool
}

// pending is a question that waits for its answer.
type pending struct {
	to     asked
	n      int64 // questions are told in the order in which they came up
	q      api.Question
	answer chan api.Answer
	away   *time.Timer // runs while its client has no stream
}

// questionStream tells one client of its questions.
type questionStream struct {
	of   asked
	wake coalesce.Signal
	told map[string]bool // the questions that it was told of and that wait still
}

func newQuestions(within time.Duration) *questions {
	return &questions{within: cmp.Or(within, answerWithin), away: clientAway, pending: map[string]*pending{},
		streams: map[asked]map[*questionStream]bool{}}
}

// ask puts q to a client and waits for the answer: until it was asked for too long, its client has gone, or ctx ends.
func (s *questions) ask(ctx context.Context, to asked, q api.Question) (string, error) {
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
	q.ID = "q-" + hex.EncodeToString(b[:])
	p := &pending{to: to, q: q, answer: make(chan api.Answer, 1), away: time.NewTimer(s.away)}
	s.add(p)
	defer s.remove(p)
	late := time.NewTimer(s.within)
	defer late.Stop()
	select {
	case a := <-p.answer:
		if a.Refused {
			return "", unanswered(q, "the answer was refused").WithHint("run it again, and answer")
		}
		return a.Value, nil
	case <-late.C:
		return "", unanswered(q, "nobody answered within "+s.within.String()).WithHint("run it again, and answer sooner")
	case <-p.away.C:
		return "", unanswered(q, "the client that was asked has gone").WithHint("run it again, and stay until it is answered")
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func unanswered(q api.Question, why string) *api.Error {
	return api.Errorf(api.CodeNoAnswer, "%s: %s", q.Title, why)
}

func (s *questions) add(p *pending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	p.n = s.last
	s.pending[p.q.ID] = p
	if len(s.streams[p.to]) > 0 {
		p.away.Stop()
	}
	s.wake(p.to)
}

func (s *questions) remove(p *pending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.away.Stop()
	delete(s.pending, p.q.ID)
	s.wake(p.to)
}

// wake has a client's streams look for news; s.mu is held.
func (s *questions) wake(to asked) {
	for st := range s.streams[to] {
		st.wake.Send()
	}
}

// open opens a client's stream of questions; close must follow.
func (s *questions) open(of asked) *questionStream {
	st := &questionStream{of: of, wake: coalesce.NewSignal(), told: map[string]bool{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[of] == nil {
		s.streams[of] = map[*questionStream]bool{}
	}
	s.streams[of][st] = true
	for _, p := range s.pending {
		if p.to == of {
			p.away.Stop()
		}
	}
	return st
}

// close ends a stream. Where it was the client's last, its questions wait no longer than s.away for another.
func (s *questions) close(st *questionStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams[st.of], st)
	if len(s.streams[st.of]) > 0 {
		return
	}
	delete(s.streams, st.of)
	for _, p := range s.pending {
		if p.to == st.of {
			p.away.Reset(s.away)
		}
	}
}

// news returns what a stream's client does not know yet: questions, and which of those that it knows have ended.
func (s *questions) news(st *questionStream) (out []api.Question) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range st.told {
		if s.pending[id] == nil {
			delete(st.told, id)
			out = append(out, api.Question{ID: id, Ended: true})
		}
	}
	var fresh []*pending
	for id, p := range s.pending {
		if p.to == st.of && !st.told[id] {
			st.told[id] = true
			fresh = append(fresh, p)
		}
	}
	slices.SortFunc(fresh, func(a, b *pending) int { return cmp.Compare(a.n, b.n) })
	for _, p := range fresh {
		out = append(out, p.q)
	}
	return out
}

// reply passes on the answer that a client gives to a question of its own.
func (s *questions) reply(by asked, id string, a api.Answer) error {
	s.mu.Lock()
	p := s.pending[id]
	s.mu.Unlock()
	switch {
	case p == nil:
		return api.Errorf(api.CodeNotFound, "no question %s waits: it was answered, or has ended", id)
	case p.to != by:
		return api.Errorf(api.CodeForbidden, "the question %s is not for you: it goes to the client that caused it", id).
			WithHint("answer it where the command runs")
	}
	select {
	case p.answer <- a:
		return nil
	default:
		return api.Errorf(api.CodeNotFound, "question %s has its answer already", id)
	}
}

// waiting counts the questions that wait for an answer.
func (s *questions) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending)
}

// questionStream streams the questions that the caller's own calls cause, and with ends=true their ends.
func (s *Server) questionStream(w http.ResponseWriter, r *http.Request) {
	of := askedOf(r.Context())
	switch client := r.URL.Query().Get("client"); {
	case client == "":
		api.WriteError(w, api.Errorf(api.CodeUsage, "client= is missing: whose questions?"))
		return
	case client != of.client:
		api.WriteError(w, api.Errorf(api.CodeForbidden, "the questions of client %s are not yours", strconv.Quote(client)).
			WithHint("a client may read its own questions only"))
		return
	}
	ends, err := boolean(r.URL.Query().Get("ends"), "ends")
	if err != nil {
		api.WriteError(w, err)
		return
	}
	st := s.questions.open(of)
	defer s.questions.close(st)
	out := api.NewNDJSON(w)
	for {
		for _, q := range s.questions.news(st) {
			if (ends || !q.Ended) && out.Write(q) != nil {
				return
			}
		}
		select {
		case <-r.Context().Done():
			return
		case <-st.wake:
		}
	}
}

func (s *Server) answer(ctx context.Context, r *http.Request) (any, error) {
	var a api.Answer
	if err := api.ReadJSON(r, &a); err != nil {
		return nil, err
	}
	return nil, s.questions.reply(askedOf(ctx), r.PathValue("id"), a)
}

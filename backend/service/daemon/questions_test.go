package daemon

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

var (
	anna = asked{"local:1", "c1"}
	ben  = asked{"local:2", "c2"}
)

// asks puts a question and returns where its end comes.
func asks(ctx context.Context, s *questions, to asked, title string) <-chan error {
	ended := make(chan error, 1)
	go func() {
		_, err := s.ask(ctx, to, api.Question{Title: title})
		ended <- err
	}()
	return ended
}

// next returns the news that a stream has, once it has any.
func next(s *questions, st *questionStream) []api.Question {
	for {
		if out := s.news(st); len(out) > 0 {
			return out
		}
		<-st.wake
	}
}

// idle is a set of questions where nobody's time runs out.
func idle() *questions {
	s := newQuestions(time.Hour)
	s.away = time.Hour
	return s
}

func TestAQuestionIsItsOwners(t *testing.T) {
	t.Parallel()
	s := idle()
	annas, bens := s.open(anna), s.open(ben)
	other := s.open(asked{anna.principal, "c3"})
	ended := asks(t.Context(), s, anna, "passphrase")
	q := next(s, annas)
	require.Len(t, q, 1)
	require.Empty(t, s.news(bens))
	require.Empty(t, s.news(other), "another client of the same principal")
	for _, by := range []asked{ben, other.of, {anna.principal, ""}, {ben.principal, anna.client}} {
		require.ErrorIs(t, s.reply(by, q[0].ID, api.Answer{Value: "x"}), &api.Error{Code: api.CodeForbidden})
	}
	require.Equal(t, 1, s.waiting())
	require.NoError(t, s.reply(anna, q[0].ID, api.Answer{Value: "x"}))
	require.NoError(t, <-ended)
	require.ErrorIs(t, s.reply(anna, q[0].ID, api.Answer{}), &api.Error{Code: api.CodeNotFound})
	require.Equal(t, []api.Question{{ID: q[0].ID, Ended: true}}, next(s, annas))
	require.Zero(t, s.waiting())
}

func TestAQuestionEndsWithItsReason(t *testing.T) {
	t.Parallel()
	moved := errors.New("moved")
	for want, end := range map[string]func(s *questions, st *questionStream, id string, cancel context.CancelCauseFunc){
		"p: the answer was refused": func(s *questions, st *questionStream, id string, _ context.CancelCauseFunc) {
			_ = s.reply(st.of, id, api.Answer{Refused: true})
		},
		"p: the client that was asked has gone": func(s *questions, st *questionStream, _ string, _ context.CancelCauseFunc) {
			s.close(st)
		},
		"moved": func(_ *questions, _ *questionStream, _ string, cancel context.CancelCauseFunc) { cancel(moved) },
	} {
		s := idle()
		st := s.open(anna)
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := asks(ctx, s, anna, "p")
		q := next(s, st)
		s.mu.Lock()
		s.away = time.Millisecond
		s.mu.Unlock()
		end(s, st, q[0].ID, cancel)
		require.EqualError(t, <-ended, want)
		require.Zero(t, s.waiting())
		require.Equal(t, []api.Question{{ID: q[0].ID, Ended: true}}, s.news(st))
		cancel(nil)
	}
	s := newQuestions(time.Millisecond)
	err := <-asks(t.Context(), s, anna, "p")
	require.EqualError(t, err, "p: nobody answered within 1ms")
	require.Equal(t, 6, api.ExitCode(err))
}

func TestAClientThatComesBackInTimeIsAsked(t *testing.T) {
	t.Parallel()
	s := idle()
	ended := asks(t.Context(), s, anna, "p") // before there is a stream
	for range 3 {
		st := s.open(anna)
		q := next(s, st)
		require.Equal(t, "p", q[0].Title)
		s.close(st)
	}
	st := s.open(anna)
	require.NoError(t, s.reply(anna, next(s, st)[0].ID, api.Answer{Value: "x"}))
	require.NoError(t, <-ended)
}

// TestOnlyOnesOwnQuestionsAreServed asks at the API's door, as another client of the same person.
func TestOnlyOnesOwnQuestionsAreServed(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	ended := asks(t.Context(), d.s.questions, asked{d.s.person.ID, "own"}, "p")
	require.Eventually(t, func() bool { return d.s.questions.waiting() == 1 }, time.Minute, time.Millisecond)
	call := func(client, method, path string) (*http.Response, error) {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel) // a stream ends with it
		req, err := http.NewRequestWithContext(ctx, method, d.url+path, strings.NewReader(`{"value":"x"}`))
		require.NoError(t, err)
		doc, err := json.Marshal(api.CallerDocument{ClientID: client})
		require.NoError(t, err)
		req.Header.Set(api.CallerHeader, base64.StdEncoding.EncodeToString(doc))
		return http.DefaultClient.Do(req)
	}
	status := func(client, method, path string) int {
		res, err := call(client, method, path)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res.StatusCode
	}
	require.Equal(t, http.StatusForbidden, status("other", "GET", "/v1/questions?client=own"))
	require.Equal(t, http.StatusForbidden, status("", "GET", "/v1/questions?client=own"))
	res, err := call("own", "GET", "/v1/questions?client=own")
	require.NoError(t, err)
	defer res.Body.Close()
	var q api.Question
	require.NoError(t, json.NewDecoder(res.Body).Decode(&q))
	require.Equal(t, "p", q.Title)
	require.Equal(t, http.StatusForbidden, status("other", "POST", "/v1/questions/"+q.ID))
	require.Equal(t, http.StatusForbidden, status("", "POST", "/v1/questions/"+q.ID))
	require.Equal(t, http.StatusNoContent, status("own", "POST", "/v1/questions/"+q.ID))
	require.NoError(t, <-ended)
	require.Equal(t, http.StatusNotFound, status("own", "POST", "/v1/questions/"+q.ID))
}

// A client's questions come in the order in which they came up, also where it takes none of them for long.
func TestManyQuestionsOfASlowClient(t *testing.T) {
	t.Parallel()
	s := idle()
	st := s.open(anna)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	const many = 3000
	for n := range many {
		wg.Go(func() { _, _ = s.ask(ctx, anna, api.Question{Title: "p"}) })
		for s.waiting() <= n {
			time.Sleep(time.Microsecond)
		}
	}
	got := s.news(st)
	require.Len(t, got, many)
	for i := 1; i < len(got); i++ {
		s.mu.Lock()
		require.Less(t, s.pending[got[i-1].ID].n, s.pending[got[i].ID].n)
		s.mu.Unlock()
	}
	cancel()
	wg.Wait()
	require.Len(t, s.news(st), many, "the ends of all")
	require.Empty(t, s.news(st))
}

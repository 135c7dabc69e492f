package ui

import (
	"context"
	"errors"
	"sync"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
)

type answerFunc = func(ctx context.Context, q api.Question) (api.Answer, error)

// QuestionMsg makes the message that has the dashboard ask a question; reply is called with the answer.
func QuestionMsg(q api.Question, reply func(api.Answer)) tea.Msg { return questionMsg{q, reply} }

// questions brings the service's questions to where they can be answered: a dialog of the dashboard,
// or the terminal while it is given to a shell.
type questions struct {
	mu   sync.Mutex
	to   answerFunc // while a shell has the terminal
	send func(tea.Msg)
}

// divert sends questions elsewhere; nil: to the dashboard again.
func (q *questions) divert(f func(context.Context, api.Question) (api.Answer, error)) {
	q.mu.Lock()
	q.to = f
	q.mu.Unlock()
}

// answer is what the client calls for each question.
func (q *questions) answer(ctx context.Context, ask api.Question) (api.Answer, error) {
	q.mu.Lock()
	to, send := q.to, q.send
	q.mu.Unlock()
	switch {
	case to != nil:
		a, err := to(ctx, ask)
		if errors.Is(err, api.ErrInterrupted) { // only the question is meant, not the dashboard
			return api.Answer{Refused: true}, nil
		}
		return a, err
	case send == nil:
		return api.Answer{Refused: true}, nil
	}
	got := make(chan api.Answer, 1)
	send(questionMsg{ask, func(a api.Answer) { got <- a }})
	select {
	case a := <-got:
		return a, nil
	case <-ctx.Done():
		send(withdrawMsg{ask.ID})
		return api.Answer{}, ctx.Err()
	}
}

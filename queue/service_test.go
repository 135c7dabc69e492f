package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestServiceCheck(t *testing.T) {
	good := Spec{Argv: []string{"serve"}, Workdir: "/", Request: Request{Slots: -1}, Service: &Service{Port: 8000, Health: "/health?x=1"}}
	require.NoError(t, good.Check())
	for want, change := range map[string]func(*Spec){
		"no port of TCP":    func(s *Spec) { s.Service = &Service{Port: 65536} },
		"it begins with /":  func(s *Spec) { s.Service = &Service{Port: 1, Health: "health"} },
		"no path to ask":    func(s *Spec) { s.Service = &Service{Port: 1, Health: "/a b"} },
		"less than nothing": func(s *Spec) { s.Service = nil },
		"takes no slot":     func(s *Spec) { s.Request.Slots = 0 },
		"no elements":       func(s *Spec) { s.Array = &Array{Ranges: []Range{{First: 0, Last: 1, Step: 1}}} },
		"no time-out":       func(s *Spec) { s.Timeout = time.Hour },
		"no number of ret":  func(s *Spec) { s.Retries = 1 },
		"no job would ever": func(s *Spec) { s.Request.Exclusive = true },
		"somebody is told":  func(s *Spec) { s.Notify = []string{"me"} },
	} {
		s := good
		change(&s)
		require.ErrorContains(t, s.Check(), want)
	}
	times, causes := good.Retrying()
	require.Equal(t, AlwaysAgain, times)
	require.Contains(t, causes, ByStart)
	times, causes = Spec{Retries: 2, RetryOn: []Cause{ByOOM}}.Retrying()
	require.Equal(t, 2, times)
	require.Equal(t, []Cause{ByOOM}, causes)
}

package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/ui/jobword"
)

// Names and messages of a job can't end the terminal's sequence and begin another.
func TestTheBellIsSafe(t *testing.T) {
	id := "14"
	j := &api.Job{ID: &id, Name: "a\x1b]0;owned\x07;b\x9c", State: api.JobFailed, Message: "x\x1b\\\x07;y\n" + strings.Repeat("z", 1000)}
	env := func(kv ...string) func(string) string {
		return func(k string) string {
			for i := 0; i < len(kv); i += 2 {
				if kv[i] == k {
					return kv[i+1]
				}
			}
			return ""
		}
	}
	s := jobword.Bell("vision", j, 0, env("TERM", "xterm-256color"))
	require.Equal(t, 3, strings.Count(s, "\a"), "the bell, and the ends of two notices: %q", s)
	require.Equal(t, 2, strings.Count(s, "\x1b"), "%q", s)
	require.NotContains(t, s, "\x9c")
	require.Equal(t, 4, strings.Count(s, ";"), "%q", s)
	require.Contains(t, s, "\x1b]9;berth: ")
	require.Contains(t, s, "\x1b]777;notify;")
	require.Less(t, len(s), 1000)
	require.NotContains(t, jobword.Bell("vision", j, 0, env("TERM", "foot")), "777")
	require.NotContains(t, jobword.Bell("vision", j, 0, env("TERM", "xterm-256color", "TERM_PROGRAM", "WezTerm")), "777")
	require.Empty(t, jobword.Bell("vision", j, 0, env("TERM", "dumb")))
	require.Empty(t, jobword.Bell("vision", j, 0, env()))

	var out bytes.Buffer // no terminal
	(&app{err: &out}).ring("vision", j, time.Now().Add(-time.Hour))
	require.Empty(t, out.String())
}

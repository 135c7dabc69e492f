//go:build e2e

package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAttachedWhileTheInstanceEnds has somebody attached while another stops, restarts and deletes the instance.
func TestAttachedWhileTheInstanceEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "box")
	for _, is := range []struct {
		verb []string
		says string // a regular expression: what ends it may not be over yet
		hint string
	}{
		{[]string{"stop", "box"}, "the terminal ended: box (was|is being) stopped by ", "berth start box"},
		{[]string{"restart", "box"}, "the terminal ended: box (was|is being) restarted by ", "berth ssh box opens a new one"},
		{[]string{"rm", "-y", "box"}, "the terminal ended: box (was|is being) deleted by ", ""},
	} {
		w.ok("start", "box")
		s := w.shellOn("ssh", "box")
		s.does(1)
		w.ok(is.verb...)
		s.sees("the terminal ended: box ")
		s.sees(is.hint)
		require.Error(t, s.cmd.Wait())
		require.Equal(t, 1, s.cmd.ProcessState.ExitCode())
		<-s.done // all that it said was read
		require.Regexp(t, is.says, s.seen.String())
		require.NotContains(t, s.seen.String(), "; the shell goes on")
	}
}

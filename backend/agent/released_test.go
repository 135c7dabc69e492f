package agent

import (
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/shim/shimtest"
	"berth/backend/api"
)

// TestTerminalsOfTheReleaseBefore has a terminal under the shim of capability 1 that another agent takes over: it is
// listed, attached to and ended like any other.
func TestTerminalsOfTheReleaseBefore(t *testing.T) {
	t.Parallel()
	old := shimtest.Build(t, shimtest.Capability1)
	a, c := serve(t, testOptions(t))
	a.smallShim = func() string { return old }
	p := attach(t, c, api.TerminalRequest{Rows: 10, Cols: 50})
	p.types("echo be''fore\n")
	p.sees("before")

	a.terms.stopWatching() // as an agent that leaves does
	a.terms.mu.Lock()
	clear(a.terms.live)
	a.terms.mu.Unlock()
	later := newTerminals(a)
	defer later.stopWatching()
	later.load()
	require.Len(t, later.records(), 1)
	require.Equal(t, 1, later.records()[0].Protocol)
	list := later.list(t.Context())
	require.Len(t, list, 1)
	require.Equal(t, p.id, list[0].ID)
	require.Equal(t, p.pid, list[0].PID)
	require.Equal(t, 1, list[0].Attached)
	_, conn, err := later.attach(t.Context(), api.TerminalRequest{ID: p.id})
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, later.kill(t.Context(), p.id, 0))
	<-p.done
	require.NotNil(t, p.end)
	_, err = later.find(p.id)
	require.ErrorContains(t, err, "terminal "+p.id+" was ended by SIG")
}

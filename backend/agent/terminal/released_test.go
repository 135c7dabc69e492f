package terminal

import (
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/part"
	"berth/backend/agent/server"
	"berth/backend/agent/server/servertest"
	"berth/backend/agent/shim/shimtest"
	"berth/backend/api"
)

// TestTerminalsOfTheReleaseBefore has a terminal under the shim of capability 1 that another agent takes over: it is
// listed, attached to and ended like any other.
func TestTerminalsOfTheReleaseBefore(t *testing.T) {
	t.Parallel()
	old := shimtest.Build(t, shimtest.Capability1)
	var ts *terminals
	only := func(h *part.Host) part.Part {
		ts = newTerminals(h)
		return ts.part()
	}
	_, c := servertest.Serve(t, server.Config{Options: agenttest.Options(t), Parts: []func(*part.Host) part.Part{only},
		Shim: func() string { return old }})
	p := servertest.Attach(t, c, api.TerminalRequest{Rows: 10, Cols: 50})
	p.Types("echo be''fore\n")
	p.Sees("before")

	ts.stopWatching() // as an agent that leaves does
	ts.mu.Lock()
	clear(ts.live)
	ts.mu.Unlock()
	later := newTerminals(ts.h)
	defer later.stopWatching()
	require.NoError(t, later.load())
	require.Len(t, later.records(), 1)
	require.Equal(t, 1, later.records()[0].Protocol)
	list := later.list(t.Context(), "")
	require.Len(t, list, 1)
	require.Equal(t, p.ID, list[0].ID)
	require.Equal(t, p.PID, list[0].PID)
	require.Equal(t, 1, list[0].Attached)
	_, conn, err := later.attach(t.Context(), api.TerminalRequest{ID: p.ID})
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, later.kill(t.Context(), p.ID, 0))
	<-p.Done
	require.NotNil(t, p.End)
	_, err = later.find(p.ID)
	require.ErrorContains(t, err, "terminal "+p.ID+" was ended by SIG")
}

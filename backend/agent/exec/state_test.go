package exec

import (
	"encoding/json"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/server/servertest"
	"berth/backend/api"
	"berth/backend/transport/wire"
)

// TestStateOfACommand asks for a command while it runs, after its client has gone, and of an agent that did not
// begin it.
func TestStateOfACommand(t *testing.T) {
	a, c := serve(t, agenttest.Options(t))
	begin := func(script string) (*api.Stream, wire.Start) {
		s, err := c.OpenExec(t.Context(), servertest.Sh(script))
		require.NoError(t, err)
		k, p, err := s.Reader.Next()
		require.NoError(t, err)
		require.Equal(t, wire.Started, k, "%s", p)
		var st wire.Start
		require.NoError(t, json.Unmarshal(p, &st))
		k, p, err = s.Reader.Next()
		require.NoError(t, err)
		require.Equal(t, wire.Stdout, k, "%s", p)
		return s, st
	}
	ask := func(id string) api.ExecState {
		st, err := c.ExecState(t.Context(), id)
		require.NoError(t, err)
		return st
	}
	s, st := begin("trap '' HUP; echo up; while :; do sleep 0.05; done")
	require.NotEmpty(t, st.Exec)
	require.Equal(t, api.ExecState{PID: st.PID, State: api.ExecRuns, SameAgent: true}, ask(st.Exec))

	// As a later agent sees it, which was started after this one was killed.
	self := a.self
	a.self.Start++
	require.Equal(t, api.ExecState{PID: st.PID, State: api.ExecRuns}, ask(st.Exec))
	a.self = self

	require.NoError(t, s.Close())
	agenttest.Eventually(t, "it is hung up on", func() bool { return ask(st.Exec).HungUp })
	require.NoError(t, syscall.Kill(-st.PID, syscall.SIGKILL))
	agenttest.Eventually(t, "it has ended", func() bool { return ask(st.Exec).State == api.ExecEnded })

	_, err := c.ExecState(t.Context(), "no-such-id")
	require.Equal(t, api.CodeUsage, api.AsError(err).Code, "%v", err)
}

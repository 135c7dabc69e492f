package terminal

import (
	"testing"

	"berth/backend/agent/part"
	"berth/backend/agent/server"
	"berth/backend/agent/server/servertest"
	"berth/backend/api"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// serve runs an agent with this part alone.
func serve(t testing.TB, o part.Options) (*terminals, *api.AgentClient) {
	t.Helper()
	var ts *terminals
	only := func(h *part.Host) part.Part {
		ts = newTerminals(h)
		return ts.part()
	}
	_, c := servertest.Serve(t, server.Config{Options: o, Parts: []func(*part.Host) part.Part{only}})
	return ts, c
}

package exec

import (
	"testing"

	"berth/backend/agent/part"
	"berth/backend/agent/server"
	"berth/backend/agent/server/servertest"
	"berth/backend/api"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// only are the parts of an agent that runs commands and nothing else; s is told the part.
func only(s **service) []func(*part.Host) part.Part {
	return []func(*part.Host) part.Part{func(h *part.Host) part.Part {
		*s = newService(h)
		return (*s).part()
	}}
}

// serve runs an agent with this part alone.
func serve(t testing.TB, o part.Options) (*service, *api.AgentClient) {
	t.Helper()
	var s *service
	_, c := servertest.Serve(t, server.Config{Options: o, Parts: only(&s)})
	return s, c
}

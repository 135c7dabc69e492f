package figures

import (
	"context"
	"testing"

	"berth/backend/agent/exec"
	"berth/backend/agent/part"
	"berth/backend/agent/server"
	"berth/backend/agent/server/servertest"
	"berth/backend/api"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// serve runs an agent that measures and runs commands.
func serve(t testing.TB, o part.Options) (*service, *api.AgentClient) {
	t.Helper()
	var f *service
	started := make(chan struct{})
	parts := []func(*part.Host) part.Part{exec.New, func(h *part.Host) part.Part {
		f = newService(h)
		p := f.part()
		start := p.Start
		p.Start = func(ctx context.Context) error {
			defer close(started)
			return start(ctx)
		}
		return p
	}}
	_, c := servertest.Serve(t, server.Config{Options: o, Parts: parts})
	<-started
	return f, c
}

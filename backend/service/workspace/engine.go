package workspace

import (
	"context"
	"errors"

	"berth/backend/api"
	"berth/backend/service/store"
)

// PutEngine brings the program that runs containers from w to an instance.
func PutEngine(ctx context.Context, w *Workspace, rec store.Instance) (api.EngineAnswer, error) {
	client := w.AgentClient(rec)
	defer client.Close()
	return w.putEngine(ctx, rec.Name, client)
}

func (w *Workspace) putEngine(ctx context.Context, name string, agent *api.AgentClient) (api.EngineAnswer, error) {
	info, err := agent.Info(ctx)
	if err != nil {
		return api.EngineAnswer{}, err
	}
	var program []byte
	ok := false
	if w.opts.Engine != nil {
		program, ok = w.opts.Engine(info.OS, info.Arch)
	}
	if !ok {
		return api.EngineAnswer{}, api.Errorf(api.CodeUnsupported,
			"this build has no program that runs containers on %s, which is %s/%s", name, info.OS, info.Arch).
			WithHint("a release build has those for linux/amd64 and linux/arm64")
	}
	return agent.Jobs().PutEngine(ctx, api.EngineRequest{Program: program})
}

// submit submits a job to an agent; the first one with an image brings what runs it.
func (w *Workspace) submit(ctx context.Context, name string, agent *api.AgentClient, q api.JobRequest) (api.Job,
	error) {
	job, err := agent.Jobs().Submit(ctx, q)
	if !errors.Is(err, &api.Error{Code: api.CodeNoEngine}) {
		return job, err
	}
	if _, err := w.putEngine(ctx, name, agent); err != nil {
		return job, err
	}
	return agent.Jobs().Submit(ctx, q)
}

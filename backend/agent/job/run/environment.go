package run

import (
	"context"
	"strconv"
	"strings"

	"berth/backend/agent/environ"
)

// environment is what the run's program gets, by execve: the newest environment of the login shell, what the spec says
// over it, what its conda or virtual environment makes of that, and who it is.
func (x *run) environment(ctx context.Context, cwd, mark string) ([]string, error) {
	secrets, err := x.r.secrets.env(x.Spec.UUID, x.Spec.Secrets)
	if err != nil {
		return nil, err
	}
	env := x.r.h.Environment(ctx, nil, false, "")
	if x.Spec.Conda != "" || x.Spec.Venv != "" {
		// Before what was asked for by name, which so comes through; PATH and the like are there for the activation.
		if env, err = activate(ctx, x.Spec, cwd, environ.Merge(env, x.Spec.Env...)); err != nil {
			return nil, err
		}
		for _, kv := range x.Spec.Env { // but those that an activation puts something before stay as it made them
			if k, _, _ := strings.Cut(kv, "="); !strings.HasSuffix(k, "PATH") {
				env = environ.Merge(env, kv)
			}
		}
	} else {
		env = environ.Merge(env, x.Spec.Env...)
	}
	env = environ.Merge(env, secrets...)
	if environ.Lookup(env, "PYTHONUNBUFFERED") == "" {
		env = environ.Merge(env, "PYTHONUNBUFFERED=1") // what is printed is in the log at once
	}
	env = withThreads(env, x.Spec.CPUs)
	env = x.rendezvous(env)
	return environ.Merge(env, append(x.who(mark), x.visible()...)...), nil
}

// who says to the program which job it is.
func (x *run) who(mark string) []string {
	own := []string{"BERTH_JOB_ID=" + x.ID.String(), "BERTH_JOB_UUID=" + x.Spec.UUID,
		"BERTH_ATTEMPT=" + strconv.Itoa(x.Attempt), mark}
	if s := x.Spec.Service; s != nil && environ.Lookup(x.Spec.Env, "PORT") == "" {
		own = append(own, "PORT="+strconv.Itoa(s.Port))
	}
	if x.ID.Element {
		own = append(own, "BERTH_ARRAY_ID="+strconv.FormatInt(x.ID.Number, 10),
			"BERTH_ARRAY_INDEX="+strconv.Itoa(x.ID.Index))
	}
	return own
}

// visible is which GPUs the program sees: its own. The numbers are those of the PCI bus, since CUDA's own order is by
// speed; a MIG instance has no number. Without a GPU it sees none, whatever a profile says.
func (x *run) visible() []string {
	if len(x.GPUs) == 0 {
		if x.r.HasGPUs == nil || !x.r.HasGPUs() {
			return nil
		}
		return []string{"CUDA_VISIBLE_DEVICES=-1", "BERTH_GPU_UUIDS="}
	}
	var ids []string
	for _, g := range x.GPUs {
		if g.MIG || x.Spec.GPUsByUUID {
			ids = append(ids, g.UUID)
		} else {
			ids = append(ids, strconv.Itoa(g.Index))
		}
	}
	return []string{"CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES=" + strings.Join(ids, ","),
		"BERTH_GPU_UUIDS=" + strings.Join(x.uuids(), ",")}
}

// uuids are those of the run's GPUs.
func (x *run) uuids() []string {
	uuids := make([]string, len(x.GPUs))
	for i, g := range x.GPUs {
		uuids[i] = g.UUID
	}
	return uuids
}

package job

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/backend/agent/job/notify"
	"berth/backend/agent/job/run"
	"berth/backend/agent/part"
	"berth/backend/api"
	"berth/queue"
)

// specOf is what a request asks for. Its errors are usage.
func specOf(ctx context.Context, h *part.Host, q api.JobRequest) (queue.Spec, error) {
	q = q.Meant()
	s := queue.Spec{Name: q.Name, Argv: q.Argv, Workdir: q.Workdir, Env: q.Env, Shell: q.Shell, Conda: q.Conda,
		Venv: q.Venv, Request: queue.Request{GPUs: -1}, Group: q.Group, Priority: q.Priority, Begin: q.Begin, Hold: q.Hold,
		Timeout: seconds(q.TimeoutSeconds), Retries: q.Retries,
		Notice:        queue.Notice{Signal: strings.TrimPrefix(q.Signal, "SIG"), Before: seconds(q.SignalSeconds)},
		KillLeftovers: q.KillLeftovers, LogLimit: q.LogLimitBytes, UUID: q.UUID}
	if q.GPUs != nil {
		if *q.GPUs < 0 {
			return s, api.Errorf(api.CodeUsage, "a job can't have %d GPUs", *q.GPUs)
		}
		s.Request.GPUs = *q.GPUs
	}
	s.Request.GPUMemory, s.Request.Exclusive, s.Ranks = q.GPUMemoryBytes, q.Exclusive, q.Ranks
	if q.Service != nil {
		asService(&s, q.Service)
	}
	s.Image = q.Image
	switch q.GPUIDs {
	case "", "index":
	case byUUID:
		s.GPUsByUUID = true
	default:
		return s, api.Errorf(api.CodeUsage, "a program sees its GPUs by index or by uuid, not by %.20q", q.GPUIDs)
	}
	s.CPUs, s.Memory = q.CPUs, q.MemoryBytes
	for _, c := range q.RetryOn {
		s.RetryOn = append(s.RetryOn, queue.Cause(c))
	}
	if err := tooMuch(&s); err != nil {
		return s, err
	}
	if s.Name == "" && len(q.Argv) > 0 {
		s.Name = nameOf(q.Argv)
	}
	if q.Taken || q.CopyOf != "" {
		if !queue.IsUUID(q.UUID) {
			return s, api.Errorf(api.CodeUsage, "%.40q is no UUID, by which the folder of a job is known", q.UUID)
		}
		if !q.WithinOwn() {
			return s, api.Errorf(api.CodeUsage, "%s: the directory of a job with a folder of its own is in that", s.Workdir)
		}
		if err := copyOf(ctx, h, q); err != nil {
			return s, err
		}
		s.Workdir = filepath.Join(h.TakenDir(q.UUID), s.Workdir)
	}
	dir, err := h.Dir(s.Workdir)
	if err != nil {
		return s, usage(err)
	}
	s.Workdir = dir
	if s.Notify, err = whom(h, q.Notify); err != nil {
		return s, err
	}
	if err := s.Read(queue.Words{Array: q.Array, Params: q.Params, ParamFile: q.ParamFile, After: q.After,
		AfterFailure: q.AfterFailure}); err != nil {
		return s, usage(err)
	}
	if err := s.Check(); err != nil {
		return s, usage(err)
	}
	if n := s.Notice.Signal; n != "" && unix.SignalNum("SIG"+n) == 0 {
		return s, api.Errorf(api.CodeUsage, "there is no signal %s here", n).WithHint("say it as USR1@60s; kill -l lists the names")
	}
	if err := run.Check(ctx, h, s); err != nil {
		return s, usage(err)
	}
	return s, nil
}

// byUUID has a program see the UUIDs of its GPUs.
const byUUID = "uuid"

// gpuIDs is how a job's program sees its GPUs, as it was asked for.
func gpuIDs(s *queue.Spec) string {
	if s.GPUsByUUID {
		return byUUID
	}
	return ""
}

// nameOf names a job after its program.
func nameOf(argv []string) string {
	name := strings.ToValidUTF8(argv[0], "?")
	name = name[strings.LastIndexByte(name, '/')+1:]
	if first, _, ok := strings.Cut(name, " "); ok { // a script
		name = first
	}
	return strings.ToValidUTF8(name[:min(len(name), 40)], "") // no half of a character
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func usage(err error) error { return api.Errorf(api.CodeUsage, "%w", err) }

// whom are those whom a job's end is told, once each: the instance's file must have them.
func whom(h *part.Host, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	path := notify.Path(h.Home)
	hooks, err := notify.Read(path)
	if err == nil {
		err = hooks.Check(path, names)
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, n := range names {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out, nil
}

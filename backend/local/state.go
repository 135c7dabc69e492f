package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"

	"berth/backend"
	"berth/backend/agent"
	"berth/backend/agent/supervise"
	"berth/backend/api"
	"berth/gpu/procs/proc"
)

// view is what can be seen of an instance's supervisor.
type view struct {
	status   supervise.Status
	alive    bool // the supervisor lives
	sameBoot bool // it was started since the host's last start
	req      supervise.Request
	asked    bool // there is a request
	res      supervise.Result
	resulted bool
	remains  bool // the supervisor was killed, and processes of the instance live
	killed   bool // the supervisor was killed
	broken   error
}

// look reads it. The request is read first: a supervisor removes its own record before that.
func (b *Backend) look(id string) view {
	d := b.dir(id)
	var v view
	var errs [3]error
	var ok bool
	v.req, v.asked, errs[0] = d.Request()
	v.status, ok, errs[1] = d.Status()
	v.res, v.resulted, errs[2] = d.Result()
	v.broken = errors.Join(errs[:]...)
	v.sameBoot = ok && v.status.Boot == proc.BootID()
	v.alive = ok && v.status.Alive()
	v.killed = v.sameBoot && !v.alive
	if v.killed && !v.asked {
		empty, err := v.status.Set(id).Empty()
		v.remains = err == nil && !empty
	}
	return v
}

// deleting reports whether the instance is being removed: its folder is half gone, or all of it is
// and its supervisor has not finished.
func (b *Backend) deleting(id string) bool {
	if _, err := os.Lstat(supervise.Deleting(b.env.Home.Data, id)); err == nil {
		return true
	}
	req, ok, _ := b.dir(id).Request()
	return ok && req.Action == supervise.ActionDelete
}

// What a local instance is not, for people.
var notes = []string{
	"It runs as you on this computer: nothing keeps it from your files, your processes or the network.",
	"Its size is this computer's: nothing is reserved for it.",
}

const whyAdopted = "it is this computer itself, which Berth does not start or stop"

// machine is the instance as it is now. loadErr is why its folder can't be read, if so.
func (b *Backend) machine(ctx context.Context, in instance, loadErr error) backend.Machine {
	m := backend.Machine{
		ID: in.ID, Name: in.Name, Token: in.Token, Size: hostSize, Image: hostImage, Owner: whoami(), AssignedTo: whoami(),
		User: whoami(), Adopted: in.Adopted,
		VCPUs: runtime.NumCPU(), MemoryBytes: agent.MemoryBytes(), DiskBytes: b.diskBytes(), Tags: in.Tags,
		CreatedAt: in.CreatedAt, Data: in.data(),
		Capabilities: b.Info().Capabilities,
	}
	gpus, gpuErr := b.gpus.known()
	m.GPUs = gpus
	if in.Adopted {
		b.adopted(&m, in)
	} else {
		m.Notes, m.Workdir = append([]string{}, notes...), b.homeOf(in.ID)
		if in.Share != "" {
			m.Workdir = in.Share
		}
	}
	if gpuErr != "" {
		m.Notes = append(m.Notes, "Its GPUs are unknown: "+gpuErr)
	}
	switch {
	case errors.Is(loadErr, fs.ErrNotExist) && !b.deleting(in.ID):
		b.folderGone(in, &m)
	case errors.Is(loadErr, fs.ErrNotExist): // only the half-removed folder is there
		b.resume(ctx, in, &m, b.look(in.ID), api.StateDeleting)
	case loadErr != nil:
		m.State, m.Reason = api.StateUnusable, loadErr.Error()
	case in.foreign() != "":
		m.State, m.Reason = api.StateUnknown, in.foreign()
	case !in.Adopted:
		b.setState(ctx, in, &m)
	}
	return m
}

func (b *Backend) setState(ctx context.Context, in instance, m *backend.Machine) {
	v := b.look(in.ID)
	switch {
	case v.broken != nil:
		m.State, m.Reason = api.StateUnusable, "its records can't be read: "+v.broken.Error()
	case v.asked && v.req.Action == supervise.ActionDelete:
		b.resume(ctx, in, m, v, api.StateDeleting)
	case v.asked && v.sameBoot && v.req.Action == supervise.ActionRestart:
		b.resume(ctx, in, m, v, api.StateRestarting)
	case v.asked && v.sameBoot:
		b.resume(ctx, in, m, v, api.StateStopping)
	case v.alive:
		m.State = api.StateRunning
		m.Line.Socket = b.socket(in.ID)
		b.freshen(in, v)
	case v.remains:
		// Its processes are worth more than the supervisor: they are found again by a new one.
		b.resume(ctx, in, m, v, api.StateRunning)
		m.Line.Socket = b.socket(in.ID)
	default:
		m.State = api.StateStopped
		m.Reason = stoppedReason(v)
	}
}

func stoppedReason(v view) string {
	switch {
	case v.killed:
		return "its supervisor was killed, and no process of it is left"
	case v.status.PID != 0 && !v.sameBoot:
		return "this computer was restarted"
	case !v.resulted:
		return ""
	case v.res.Error != "":
		return fmt.Sprintf("the last %s failed: %s", v.res.Action, v.res.Error)
	case len(v.res.Left) > 0:
		return "these processes could not be ended: " + strings.Join(v.res.Left, ", ")
	}
	return ""
}

// resume reports a state that a supervisor is bringing about, and starts one if it was killed.
func (b *Backend) resume(ctx context.Context, in instance, m *backend.Machine, v view, state api.State) {
	m.State = state
	if v.alive {
		return
	}
	m.Reason = "its supervisor was killed and is started again"
	if err := b.respawn(ctx, in); err != nil {
		m.Reason = "its supervisor was killed and can't be started again: " + err.Error()
	}
}

func (b *Backend) respawn(ctx context.Context, in instance) error {
	unlock, err := b.lock(ctx, in.ID)
	if err != nil {
		return err
	}
	defer unlock()
	v := b.look(in.ID)
	if v.alive {
		return nil
	}
	d := b.dir(in.ID)
	if _, err := b.load(in.ID); errors.Is(err, fs.ErrNotExist) {
		if !b.deleting(in.ID) {
			return nil // it is done
		}
		if !v.asked { // its records were lost
			if err := d.Make(); err != nil {
				return err
			}
			if err := d.Ask(supervise.ActionDelete); err != nil {
				return err
			}
		}
		return b.spawn(ctx, in, true)
	}
	if !v.asked && !v.remains {
		return nil // it has just finished
	}
	return b.spawn(ctx, in, v.asked && v.req.Action != supervise.ActionRestart)
}

// freshen lets the agent make its socket again where a cleaner of /tmp removed it.
func (b *Backend) freshen(in instance, v view) {
	if _, err := os.Lstat(b.socket(in.ID)); err == nil {
		return
	}
	if time.Since(agent.StartedAt(b.dir(in.ID).AgentState())) < 5*time.Second {
		return // it is only just starting
	}
	if err := b.env.Home.PrepareRun(); err != nil {
		b.env.Log.Warn("the folder for sockets can't be made", "err", err)
		return
	}
	if err := agent.RemakeSocket(b.dir(in.ID).AgentState()); err != nil && !errors.Is(err, proc.ErrGone) && !errors.Is(err,
		fs.ErrNotExist) {
		b.env.Log.Warn("the agent could not be asked to make its socket again", "instance", in.Name, "err", err)
	}
}

package attach

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/backend/base/shellquote"
)

// Ended is the error of a session whose terminal ended otherwise than by its shell's own end. It wraps the
// *api.Error that says why, and which verb goes on.
type Ended struct {
	Instance string
	State    api.State // of the instance; empty: not known, or it is gone
	Gone     bool      // the instance was deleted
	err      *api.Error
}

// NewEnded makes the error of a terminal on an instance in a state; err says why it ended.
func NewEnded(instance string, state api.State, err *api.Error) *Ended {
	return &Ended{Instance: instance, State: state, err: err}
}

// Error implements error.
func (e *Ended) Error() string { return e.err.Message }

// Unwrap returns the *api.Error.
func (e *Ended) Unwrap() error { return e.err }

// place is what is known of the instance that a session is on, since the session began.
type place struct {
	id      string // it may be deleted, and another may get its name
	seq     int64  // the newest event at that time
	adopted bool
}

// askFor bounds what is asked of the service besides the stream.
const askFor = 5 * time.Second

// learn asks where the session is. A service that does not say leaves it as it is.
func (a *attached) learn(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	in, err := a.c.Instance(ctx, a.instance)
	if err != nil {
		return
	}
	last, err := a.c.Events(ctx, api.EventOptions{Limit: 1})
	if err != nil {
		return
	}
	p := place{id: in.ID, adopted: in.Adopted}
	if len(last) > 0 {
		p.seq = last[len(last)-1].Seq
	}
	a.place.Store(&p)
}

// ref is how the instance is called: by its id once that is known.
func (a *attached) ref() string {
	if p := a.place.Load(); p != nil && p.id != "" {
		return p.id
	}
	return a.instance
}

// fate is what the service knows of the terminal of a session that has no line.
type fate struct {
	ended bool   // for certain
	ends  bool   // something is under way that ends it
	text  string // why, or what is going on; may be empty
	state api.State
	gone  bool
}

// ends are the operations that end an instance's terminals: what is said while one is under way, and afterwards.
var ends = map[string][2]string{
	"stop":    {"is being stopped", "was stopped"},
	"restart": {"is being restarted", "was restarted"},
	"delete":  {"is being deleted", "was deleted"},
	"restore": {"is being set back to a snapshot", "was set back to a snapshot"},
	"image":   {"is being stopped, for an image", "was stopped, for an image"},
}

func (a *attached) fate(ctx context.Context) fate {
	ctx, leave := a.here(ctx)
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	in, err := a.c.Instance(ctx, a.ref())
	if err != nil && (a.place.Load() == nil || !errors.Is(err, &api.Error{Code: api.CodeNotFound})) {
		return fate{}
	}
	f := fate{gone: err != nil, state: in.State}
	name := plaintext.Clean(a.instance)
	op := a.ending(ctx, f)
	switch {
	case op != nil:
		f.ended = op.State.Done() || f.gone
		f.ends, f.text = !f.ended, a.inWords(name, op, f)
	case f.gone:
		f.ended, f.text = true, name+" is gone"
	case in.State == api.StateStopped && in.StateReason == "":
		// With a reason it may be suspended: a start goes on with what ran.
		f.ended, f.text = true, name+" was stopped, and not by Berth"
		if a.place.Load() == nil {
			f.text = name + " is stopped"
		}
	case in.State != api.StateRunning:
		f.text = fmt.Sprintf("%s is %s", name, in.State)
		if in.StateReason != "" {
			f.text += ": " + plaintext.Clean(in.StateReason)
		}
	case in.Agent != nil && in.Agent.State != "ready":
		f.text = plaintext.Clean(in.Agent.Reason)
	}
	return f
}

// inWords says what an operation does, or has done.
func (a *attached) inWords(name string, op *api.Operation, f fate) string {
	words := ends[op.Kind]
	if p := a.place.Load(); op.Kind == "delete" && p.adopted {
		words = [2]string{"is being forgotten", "was forgotten"}
	}
	s := name + " " + words[0]
	switch {
	case !f.ended:
	case op.State.Done() && op.State != api.OpSucceeded:
		s = fmt.Sprintf("the %s of %s", op.Kind, name)
	default:
		s = name + " " + words[1]
	}
	if op.Actor != "" {
		s += " by " + plaintext.Clean(op.Actor)
	}
	if f.ended && op.State.Done() && op.State != api.OpSucceeded {
		s += " failed"
	}
	return s
}

// maxOps bounds the operations that are looked at, newest first.
const maxOps = 16

// ending is the newest operation since the session began that ends, or has ended, the instance's terminals.
func (a *attached) ending(ctx context.Context, f fate) *api.Operation {
	p := a.place.Load()
	if p == nil {
		return nil
	}
	o := api.EventOptions{Since: p.seq, Instance: p.id}
	if f.gone { // then its events are found only among all
		o.Instance = ""
	}
	events, err := a.c.Events(ctx, o)
	if err != nil {
		return nil
	}
	seen := map[string]bool{"": true}
	for i := len(events) - 1; i >= 0 && len(seen) <= maxOps; i-- {
		e := events[i]
		if e.InstanceID != p.id || seen[e.OperationID] {
			continue
		}
		seen[e.OperationID] = true
		op, err := a.c.Operations().Get(ctx, e.OperationID)
		if err != nil || ends[op.Kind][0] == "" {
			continue
		}
		if op.State.Done() && op.State != api.OpSucceeded && f.state == api.StateRunning {
			continue // it did not come to it
		}
		return &op
	}
	return nil
}

// over is the error of a terminal that has ended; how is said where the service knows no reason.
func (a *attached) over(f fate, how string) error {
	if f.text == "" || !f.ended && !f.ends {
		f.text = how
	}
	name := shellquote.Word(plaintext.Text(a.instance))
	e := api.Errorf(api.CodeFailed, "the terminal ended: %s", f.text)
	switch {
	case f.gone:
	case f.state == api.StateStopped || f.state == api.StateStopping:
		e = e.WithHint("berth start %[1]s starts it again, and berth ssh %[1]s opens a new terminal", name)
	default:
		e = e.WithHint("berth ssh %s opens a new one", name)
	}
	ended := NewEnded(a.instance, f.state, e)
	ended.Gone = f.gone
	return ended
}

package setup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"berth/backend/agent/root"
	"berth/backend/api"
	"berth/backend/base/atomicfile"
)

// errCancelled says that the plan was cancelled while its step ran.
var errCancelled = errors.New("cancelled")

// drive lets a plan go on until it ends or the engine does.
func (e *Engine) drive(p *plan) {
	for i := range p.plan.Steps {
		e.mu.Lock()
		state, cancel, rebooting := p.rec.Steps[i].State, p.rec.Cancel, p.rec.AskedBoot != ""
		e.mu.Unlock()
		if state == api.OpSucceeded {
			continue
		}
		var err error
		switch {
		case cancel && (rebooting || state != api.OpRunning):
			err = errCancelled
		case rebooting:
			err = e.reboot(p, i)
		default:
			err = e.step(p, i)
		}
		if e.ctx.Err() != nil {
			return // the next agent goes on
		}
		if err != nil {
			e.fail(p, i, err)
			return
		}
	}
	e.locked(p, true, func(r *record) {
		now := time.Now().UTC()
		r.State, r.EndedAt, r.Log, r.LogPath, r.Cancel = api.OpSucceeded, &now, "", "", false
	})
}

func (e *Engine) fail(p *plan, i int, err error) {
	e.mu.Lock()
	attempt := p.rec.Attempts[i]
	e.mu.Unlock()
	text, _ := attemptTail(p.dir, i, attempt)
	e.locked(p, true, func(r *record) {
		now := time.Now().UTC()
		r.State, r.EndedAt, r.Rebooting = api.OpFailed, &now, false
		s := &r.Steps[i]
		s.State, s.EndedAt, s.Message = api.OpFailed, &now, err.Error()
		if errors.Is(err, errCancelled) {
			r.State, s.State, s.Message = api.OpCancelled, api.OpCancelled, "cancelled"
			return
		}
		r.Error = api.AsError(err)
		r.Log, r.LogPath = text, stepFile(p.dir, i, 0, "log")
	})
}

// step runs one step to its end, or finds how it ended.
func (e *Engine) step(p *plan, i int) error {
	s := &p.plan.Steps[i]
	e.mu.Lock()
	attempt, from, begun := p.rec.Attempts[i], p.rec.Resumed[i], p.rec.Steps[i].State == api.OpRunning
	e.mu.Unlock()
	if !begun || attempt == 0 {
		attempt = max(1, attempt)
		e.locked(p, true, func(r *record) {
			now := time.Now().UTC()
			st := &r.Steps[i]
			st.State, st.StartedAt, st.EndedAt, st.Message = api.OpRunning, &now, nil, ""
			r.Attempts[i], r.Log, r.LogPath = attempt, "", stepFile(p.dir, i, 0, "log")
		})
	}
	for {
		r, err := e.attempt(p, i, attempt)
		var cut *cutOff
		switch {
		case err == nil:
			return e.ended(p, i, attempt, r)
		case !errors.As(err, &cut):
			return err
		case s.Once:
			return api.Errorf(api.CodeFailed, "%s was cut off by %s and is not run a second time", what(s), cut.by).
				WithHint("look at how far it came, then resume the set-up to run it again")
		case attempt-from >= cutLimit:
			return api.Errorf(api.CodeFailed, "%s was cut off %d times, at last by %s", what(s), cutLimit, cut.by)
		}
		attempt++
		e.locked(p, true, func(r *record) {
			r.Attempts[i] = attempt
			r.Steps[i].Message = fmt.Sprintf("was cut off by %s; checked and run again", cut.by)
		})
	}
}

// what names a step in an error.
func what(s *api.SetupStep) string {
	if s.Title != "" && s.Title != s.Name {
		return fmt.Sprintf("the step %s (%s)", s.Name, s.Title)
	}
	return "the step " + s.Name
}

// cutOff says that an attempt has ended without a result.
type cutOff struct{ by string }

func (c *cutOff) Error() string { return "cut off by " + c.by }

// attempt begins an attempt, unless it has begun, and waits for its end.
func (e *Engine) attempt(p *plan, i, k int) (result, error) {
	var none result
	var child <-chan error
	code, run := stepFile(p.dir, i, k, "code"), stepFile(p.dir, i, k, "run")
	var logSize int64 = -1
	lastLog := time.Time{}
	tick := time.NewTicker(e.o.Poll)
	defer tick.Stop()
	told := false
	for {
		var who started
		err := atomicfile.Read(run, &who)
		if r, ok := readResult(code); ok {
			outside := r.Why == whyEnded || r.Signal != ""
			switch {
			case told || r.Why == whyEnded && e.cancelled(p):
				return none, errCancelled
			case outside && err == nil && who.Boot != e.o.Boot:
				return none, &cutOff{"a restart of the machine"} // which first signals what runs
			case outside && !settle(e.ctx, e.o.Settle):
				return none, e.ctx.Err()
			}
			return r, nil
		}
		switch {
		case err == nil && who.Boot != e.o.Boot:
			return none, &cutOff{"a restart of the machine"}
		case err == nil && !who.alive():
			if _, ok := readResult(code); ok {
				continue // written since it was looked for
			}
			e.endRest(e.ctx, who.PID, p.plan.Steps[i].Root)
			if e.cancelled(p) {
				return none, errCancelled
			}
			return none, &cutOff{"the end of its processes (were they killed?)"}
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return none, api.Errorf(api.CodeFailed, "reading how %s was begun: %w", what(&p.plan.Steps[i]), err)
		case err != nil && child == nil:
			if e.cancelled(p) {
				return none, errCancelled
			}
			if child, err = e.begin(p, i, k); err != nil {
				return none, err
			}
		case err == nil && !told && e.cancelled(p):
			told = true
			go e.endRunner(e.ctx, p, i, k) // ends with the runner
		}
		if err == nil {
			if now := time.Now(); now.Sub(lastLog) >= 5*e.o.Poll {
				lastLog = now
				if text, n := attemptTail(p.dir, i, k); n != logSize {
					logSize = n
					e.locked(p, false, func(r *record) { r.Log = text })
				}
			}
		}
		select {
		case <-e.ctx.Done():
			return none, e.ctx.Err()
		case err := <-child:
			child = nil
			if _, serr := os.Stat(run); err != nil && errors.Is(serr, fs.ErrNotExist) {
				return none, api.Errorf(api.CodeFailed, "%s could not begin: %w", what(&p.plan.Steps[i]), err).
					WithHint("look at the space on the instance's disk: df -h %s", p.dir)
			}
		case <-tick.C:
		case <-e.wake: // cancelled, perhaps
		}
	}
}

// settle waits: what ends a step may be the machine's shutdown, which ends this process next. It reports
// whether it did not.
func settle(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (e *Engine) cancelled(p *plan) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return p.rec.Cancel
}

// ended says what the result of a step means.
func (e *Engine) ended(p *plan, i, k int, r result) error {
	s := &p.plan.Steps[i]
	for n := range k { // they may hold secrets
		_ = os.Remove(stepFile(p.dir, i, n+1, "env"))
		_ = os.Remove(stepFile(p.dir, i, n+1, "json"))
	}
	text, _ := attemptTail(p.dir, i, k)
	says := ""
	if l := lastLine(text); l != "" {
		says = ": " + l
	}
	if full := fullDisk(p.dir, "/"); full != "" {
		says += "; " + full
	}
	left := ""
	if r.Left > 0 {
		left = fmt.Sprintf("; %d of its processes could not be ended", r.Left)
	}
	switch {
	case r.Err != "":
		return api.Errorf(api.CodeFailed, "%s could not be run: %s", what(s), r.Err)
	case r.Why == whyLimit:
		return api.Errorf(api.CodeFailed, "%s took longer than %v and was ended%s%s", what(s), limit(s), left, says)
	case r.Why == whyEnded:
		return api.Errorf(api.CodeFailed, "%s was ended from outside%s", what(s), left).
			WithHint("resume the set-up to run it again")
	case r.Signal != "":
		return api.Errorf(api.CodeFailed, "%s was ended by %s%s", what(s), r.Signal, says)
	case r.Code != 0:
		return api.Errorf(api.CodeFailed, "%s ended with code %d%s", what(s), r.Code, says)
	}
	if s.Reboot && !r.Skipped {
		// Written before the machine is asked: who comes back after the boot finds it.
		e.locked(p, true, func(rec *record) { rec.AskedBoot, rec.AskedAt = e.o.Boot, time.Now().UTC() })
		return e.reboot(p, i)
	}
	e.succeed(p, i, r)
	return nil
}

func (e *Engine) succeed(p *plan, i int, r result) {
	e.locked(p, true, func(rec *record) {
		now := time.Now().UTC()
		st := &rec.Steps[i]
		st.State, st.EndedAt, st.Message = api.OpSucceeded, &now, ""
		if r.Skipped {
			st.Message = "nothing to do"
		}
		rec.Rebooting, rec.AskedBoot, rec.AskedAt, rec.Log, rec.LogPath = false, "", time.Time{}, "", ""
	})
}

// reboot restarts the machine after step i, or finds that it was restarted.
func (e *Engine) reboot(p *plan, i int) error {
	s := &p.plan.Steps[i]
	e.mu.Lock()
	asked := p.rec.AskedBoot
	e.mu.Unlock()
	if asked != e.o.Boot {
		e.succeed(p, i, result{})
		return nil
	}
	if why := e.o.NoReboot; why != "" || !p.plan.MayReboot {
		if why == "" {
			why = "this set-up may not do it"
		}
		return api.Errorf(api.CodeConflict,
			"%s is done, but the machine must be restarted before the set-up can go on, and %s", what(s), why).
			WithHint("restart it; the set-up then goes on by itself")
	}
	e.locked(p, true, func(r *record) {
		r.Rebooting = true
		r.Steps[i].Message = "restarting the machine"
	})
	e.mu.Lock()
	lost := p.dirty
	e.mu.Unlock()
	if lost { // else it would come back not knowing of this
		return api.Errorf(api.CodeFailed,
			"the machine is not restarted after %s: how far the set-up is can't be written to %s", what(s), p.dir)
	}
	if e.o.BeforeReboot != nil {
		e.o.BeforeReboot(e.ctx)
	}
	if err := e.o.Reboot(e.ctx); err != nil {
		return err
	}
	t := time.NewTimer(e.o.RebootLimit)
	defer t.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return e.ctx.Err()
		case <-e.wake:
			if e.cancelled(p) {
				return errCancelled
			}
		case <-t.C:
			return api.Errorf(api.CodeFailed, "the machine was asked to restart after %s and did not within %v", what(s),
				e.o.RebootLimit).
				WithHint("restart it; the set-up then goes on by itself")
		}
	}
}

func limit(s *api.SetupStep) time.Duration {
	if s.LimitSeconds > 0 {
		return time.Duration(s.LimitSeconds * float64(time.Second))
	}
	return defaultLimit
}

// begin starts the runner of an attempt. The channel tells of its end; an error says that nothing was
// started.
func (e *Engine) begin(p *plan, i, k int) (<-chan error, error) {
	s := &p.plan.Steps[i]
	sp := spec{Boot: e.o.Boot, Seconds: limit(s).Seconds(), Grace: e.o.Grace.Seconds(), Dir: e.o.Work}
	env, ok := e.o.Env(e.ctx, s.Root)
	if !ok {
		return nil, e.ctx.Err()
	}
	sp.Env = append(append(env, "DEBIAN_FRONTEND=noninteractive"), s.Env...)
	script := stepFile(p.dir, i, 0, "sh")
	before := ""
	if s.Prelude {
		before = p.plan.Prelude + "\n"
	}
	files := map[string]string{script: before + s.Script}
	sp.Argv = append(root.Interpreter(before+s.Script), script)
	if s.Check != "" {
		check := stepFile(p.dir, i, 0, "check.sh")
		files[check] = before + s.Check
		sp.Check = append(root.Interpreter(before+s.Check), check)
	}
	if fi, err := os.Stat(sp.Dir); err != nil || !fi.IsDir() {
		sp.Dir = "/"
	}
	if s.Root {
		sp.Dir = "/"
	}
	if s.Root && len(e.o.Root.Sudo) > 0 {
		if err := e.asRoot(&sp, p, i, k, files); err != nil {
			return nil, err
		}
	}
	err := writeFiles(files)
	if err == nil {
		err = atomicfile.Write(stepFile(p.dir, i, k, "json"), sp)
	}
	if err == nil {
		var child <-chan error
		if child, err = startRunner(e.o.Runner(p.dir, strconv.Itoa(i), strconv.Itoa(k)), env); err == nil {
			return child, nil
		}
	}
	return nil, api.Errorf(api.CodeFailed, "%s could not begin: %w", what(s), err).
		WithHint("look at the space on the instance's disk: df -h %s", p.dir)
}

// asRoot makes a step root's: what the runner runs is the verb of root, which finds script and variables in
// the plan's folder. Where root can't be had, the error names the command for somebody who can.
func (e *Engine) asRoot(sp *spec, p *plan, i, k int, files map[string]string) error {
	s := &p.plan.Steps[i]
	dir, err := filepath.EvalSymlinks(p.dir) // root follows none
	if err != nil {
		return api.Errorf(api.CodeFailed, "%s could not begin: %w", what(s), err)
	}
	vars, err := json.Marshal(root.StepEnv{Env: sp.Env})
	if err != nil {
		return api.Errorf(api.CodeFailed, "%s could not begin: %w", what(s), err)
	}
	files[stepFile(p.dir, i, k, "env")] = string(vars)
	ctx, cancel := context.WithTimeout(e.ctx, 30*time.Second)
	defer cancel()
	err = e.o.Root.Check(ctx, what(s), "setup-step", root.StepArgs(dir, i, k, root.StepRun)...)
	if e.ctx.Err() != nil {
		return e.ctx.Err()
	}
	if err != nil {
		if werr := writeFiles(files); werr != nil {
			e.o.Log.Warn("the script of a step can't be written", "setup", p.plan.ID, "step", s.Name, "err", werr)
		}
		a := api.AsError(err)
		if a.Hint != "" {
			a = a.WithHint("%s; then resume the set-up", a.Hint)
		}
		return a
	}
	sp.Root = &e.o.Root
	sp.Argv = e.o.Root.Command("setup-step", root.StepArgs(dir, i, k, root.StepRun)...)
	if sp.Check != nil {
		sp.Check = e.o.Root.Command("setup-step", root.StepArgs(dir, i, k, root.StepCheck)...)
	}
	sp.Env, _ = e.o.Env(e.ctx, false) // sudo's own
	return nil
}

// writeFiles writes files as a whole each: the runner that an agent started just before it was killed may
// read them now.
func writeFiles(files map[string]string) error {
	for path, text := range files {
		if err := atomicfile.Replace(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

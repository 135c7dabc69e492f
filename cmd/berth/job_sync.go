//go:build !front

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"berth/backend/api"
	"berth/backend/transport/filecopy"
	"berth/backend/transport/filecopy/ignore"
	"berth/ui/money"
)

// sendCode sends the folder of --sync, of which only what has changed since the last job travels, and has the instance
// make the job's own folder from it. What is edited here after that is nothing to the job.
func (a *app) sendCode(ctx context.Context, c *api.WorkspaceClient, name string, code jobFolder, q *api.JobRequest,
	start bool) error {
	if code.dir == "" {
		return nil
	}
	if c.Inside != nil {
		return api.Errorf(api.CodeUsage, "--sync sends a folder of another computer, and this is the instance").
			WithHint("the job runs in this folder: leave --sync out")
	}
	if !q.WithinOwn() {
		return api.Errorf(api.CodeUsage, "--workdir %s: the directory of a job with --sync is in the folder that is sent",
			q.Workdir)
	}
	dir, err := filepath.Abs(code.dir)
	if err != nil {
		return err
	}
	if err := codeFits(dir, code.limit); err != nil {
		return err
	}
	runs, err := a.runsForCode(ctx, c, name, start, len(q.Secrets) > 0)
	if err != nil {
		return err
	}
	if !runs {
		return a.keepCode(ctx, c, name, dir, code, q)
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(host + "\x00" + a.home.State + "\x00" + dir))
	y := &syncing{dir: dir, to: side{instance: name}, sent: hex.EncodeToString(sum[:16]), remove: true, m: a.newMeter()}
	defer y.m.close()
	err = c.WithQuestions(ctx, func(ctx context.Context) error {
		if err := y.run(ctx, c, dir, false, a.change(y)); err != nil {
			return err
		}
		if err := y.m.end(); err != nil {
			return err
		}
		_, err := c.Agent(name).Take(ctx, api.TakeRequest{Sent: y.sent, UUID: q.UUID})
		return err
	})
	if err != nil {
		return fmt.Errorf("sending %s: %w", dir, err)
	}
	q.Taken = true
	y.m.close()
	fmt.Fprintf(a.err, "berth: the job has a copy of %s: %d new, %d changed, %d removed since the last one\n", code.dir, y.made,
		y.replaced+y.other, y.removed)
	return nil
}

// keepCode has the service keep the folder of --sync, as it is now, with the job until the instance runs.
func (a *app) keepCode(ctx context.Context, c *api.WorkspaceClient, name, dir string, code jobFolder,
	q *api.JobRequest) error {
	y := &syncing{dir: dir, to: side{instance: name}, keep: q.UUID, m: a.newMeter()}
	defer y.m.close()
	err := y.run(ctx, c, dir, false, a.change(y))
	if err == nil {
		err = y.m.end()
	}
	if err != nil {
		return fmt.Errorf("keeping a copy of %s: %w", dir, err)
	}
	q.Taken = true
	y.m.close()
	fmt.Fprintf(a.err, "berth: a copy of %s waits here with the job: %d files and folders\n", code.dir, y.made)
	return nil
}

// codeFits refuses a folder that is larger than somebody means to send with each job.
func codeFits(dir, limit string) error {
	most, err := bytesFlag("--sync-limit", limit, "1GB")
	if err != nil {
		return err
	}
	if fi, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return api.Errorf(api.CodeUsage, "--sync %s: there is no such folder", dir)
	} else if err != nil {
		return err
	} else if !fi.IsDir() {
		return api.Errorf(api.CodeUsage, "--sync %s: it is no folder", dir)
	}
	rules := ignore.New(dir)
	_, size, err := filecopy.Size(dir, rules.Skip, func(unread error) error { return unread })
	if err == nil {
		err = rules.Err()
	}
	if err != nil {
		return err
	}
	if size > most {
		return api.Errorf(api.CodeRefused, "%s has %s, and %s are sent with a job at the most", dir, money.Size(size),
			money.Size(most)).
			WithHint("name what the job does not need in .berthignore, or say --sync-limit %s",
				strings.ReplaceAll(money.Bytes(size+size/10), " ", ""))
	}
	return nil
}

// runsForCode has the instance run where it is to be started, and reports whether it does: a folder is sent to its disk
// then, and else kept here.
func (a *app) runsForCode(ctx context.Context, c *api.WorkspaceClient, name string, start, secrets bool) (bool, error) {
	in, err := c.Instance(ctx, name)
	if err != nil {
		return false, err
	}
	switch in.State {
	case api.StateStopping, api.StateStarting, api.StateRestarting, api.StateCreating:
		return secrets, nil // what can't wait here is refused there
	case api.StateStopped:
	default:
		return true, nil
	}
	if !start {
		if start, err = a.askToStart(ctx, c, name, secrets); err != nil {
			return false, err
		}
	}
	switch {
	case !start && secrets:
		return false, api.Errorf(api.CodeUsage, "a job with secrets can't wait for its instance: they are kept nowhere but there").
			WithHint("--start starts it first")
	case !start:
		return false, nil
	}
	op, err := startFor(ctx, c, name)
	if err == nil {
		_, err = a.waitAsked(ctx, c, op)
	}
	return true, err
}

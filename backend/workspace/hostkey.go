package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/store"
)

// The host key that was handed in with the first boot is known to the provider. So the machine makes one
// of its own, which is shown by newKeyScript and taken into use by useKeyScript.
const (
	newKeyScript = `set -e
f=/etc/ssh/berth_new_host_key
if [ ! -s $f.pub ]; then rm -f $f $f.pub; ssh-keygen -q -t ed25519 -N '' -C "" -f $f; fi
cat $f.pub`
	useKeyScript = `set -e
cd /etc/ssh
mv berth_new_host_key.pub ssh_host_ed25519_key.pub
mv berth_new_host_key ssh_host_ed25519_key
sync
pid=$(cat /run/sshd.pid 2>/dev/null || cat /var/run/sshd.pid 2>/dev/null || pgrep -o -x sshd)
kill -HUP "$pid"`
)

// settle is how long a machine that can be used is left to what it was made for before it is asked for
// another host key.
const settle = 2 * time.Second

// renewLater begins the renewal of a host key that was handed in, if e's machine has one still and nothing
// is under way. w.mu must be held.
func (w *Workspace) renewLater(e *entry) {
	rec := e.rec
	usable := rec.State == api.StateRunning || rec.State == api.StateSetupFailed
	if e.run != nil || w.ctx.Err() != nil || !usable || rec.Sealed || rec.KeyKept != "" || rec.HostKeys == "" || rec.Line.SSH == nil || !rec.Line.SSH.Made {
		return
	}
	if _, ok := w.opts.Backends[rec.Backend].(backend.Sealer); !ok {
		return
	}
	ctx := backend.WithCaller(w.ctx, &backend.Caller{Actor: "berth", Env: w.env})
	if _, err := w.begin(ctx, rec, store.Operation{Operation: api.Operation{ID: newID("op-"), Kind: opHostKey}}); err != nil {
		w.log.Error("beginning the renewal of a host key", "instance", rec.Name, "error", err)
	}
}

// renewHostKey has a machine that Berth made replace its first host key, pins the new one, and has the old
// one removed from the provider. What can't be done is an event: the line is verified either way.
func renewHostKey(ctx context.Context, w *Workspace, r *run) error {
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	b, rec, err := w.target(r)
	if err != nil {
		return err
	}
	s, ok := b.(backend.Sealer)
	if !ok || w.hasSnapshots(ctx, b, &rec) { // a disk that goes back would show a key that is known no longer
		return nil
	}
	kept := func(why string) error {
		return w.persist(ctx, func() *store.Change {
			rec := w.entries[r.op.InstanceID].rec
			rec.KeyKept = why
			r.op.Warnings = append(r.op.Warnings, why)
			return &store.Change{Instances: []store.Instance{rec}, Operations: []store.Operation{r.record()}, Events: []*api.Event{w.event("hostkey.kept", "warn", &rec, &r.op.Operation, "", "%s", why)}}
		})
	}
	if err := w.changeHostKey(ctx, r, &rec); err != nil {
		var failed *scriptFailed
		var none *AgentUnavailable
		if errors.As(err, &failed) || errors.As(err, &none) {
			return kept(fmt.Sprintf("%s keeps the host key that was handed in with its first boot: %s", rec.Name, err))
		}
		return err // begun again later
	}
	w.opts.Fault(keyChanged)
	if err := w.retry(ctx, "sealing "+rec.Name, func(ctx context.Context) error { return s.Seal(ctx, ref(&rec)) }); err != nil {
		return fmt.Errorf("removing the first host key of %s, which is no longer used, from its backend: %w", rec.Name, err)
	}
	return w.persist(ctx, func() *store.Change {
		rec := w.entries[r.op.InstanceID].rec
		rec.Sealed = true
		return &store.Change{Instances: []store.Instance{rec}}
	})
}

func (w *Workspace) hasSnapshots(ctx context.Context, b backend.Backend, rec *store.Instance) bool {
	s, ok := b.(backend.Snapshotter)
	if !ok {
		return false
	}
	list, err := within(ctx, w, "backend "+rec.Backend, func(ctx context.Context) ([]api.Snapshot, error) { return s.Snapshots(ctx, ref(rec)) })
	return err != nil || len(list) > 0
}

func (w *Workspace) changeHostKey(ctx context.Context, r *run, rec *store.Instance) error {
	var out bytes.Buffer
	if err := w.asRoot(ctx, rec, newKeyScript, &out); err != nil {
		return err
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey(out.Bytes())
	if err != nil {
		return api.Errorf(api.CodeFailed, "the machine does not show its new key: %w", err)
	}
	print := ssh.FingerprintSHA256(pub)
	// Both count until the new one is in use, whoever is killed meanwhile.
	if !strings.Contains(rec.HostKeys, print) {
		if err := w.pin(ctx, r, rec.HostKeys+","+print); err != nil {
			return err
		}
	}
	if err := w.asRoot(ctx, rec, useKeyScript, nil); err != nil {
		return err
	}
	both := rec.HostKeys + "," + print
	if err := w.pin(ctx, r, print); err != nil {
		return err
	}
	// A new connection, which knows the new key only, tells that it is in use.
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, now, err := w.target(r)
		if err != nil {
			return err
		}
		client := w.AgentClient(now)
		_, err = client.AgentInfo(ctx)
		client.Close()
		var un *AgentUnavailable
		if err == nil || errors.As(err, &un) {
			return nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			if perr := w.pin(context.WithoutCancel(ctx), r, both); perr != nil {
				return perr
			}
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// rootWrapper runs the script $1 as root, by sudo where the user is another.
const rootWrapper = `if [ "$(id -u)" = 0 ]; then exec sh -c "$1"; fi; exec sudo -n -- sh -c "$1"`

// asRoot runs a short script as root on an instance; out, if not nil, gets its output.
func (w *Workspace) asRoot(ctx context.Context, rec *store.Instance, script string, out *bytes.Buffer) error {
	client := w.AgentClient(*rec)
	defer client.Close()
	s, err := client.OpenStream(ctx, "/v1/exec", api.ExecRequest{Argv: []string{"sh", "-c", rootWrapper, "sh", script}})
	if err != nil {
		return err
	}
	var said tail
	o := api.StreamIO{Stdout: &said, Stderr: &said}
	if out != nil {
		o.Stdout = out
	}
	x, err := s.Run(ctx, o)
	if err != nil {
		return err
	}
	if x.Code != 0 {
		return &scriptFailed{x.Code, said.String()}
	}
	return nil
}

// scriptFailed is what a script that ran to its end says of why it failed.
type scriptFailed struct {
	code int
	said string
}

func (e *scriptFailed) Error() string {
	return fmt.Sprintf("a script run as root ended with code %d: %s", e.code, e.said)
}

// tail keeps the last 2 KiB written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if n := len(t.b) - 2<<10; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(bytes.ToValidUTF8(bytes.TrimSpace(t.b), []byte("?"))) }

package workspace

import (
	"cmp"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/mem"
	"berth/backend/service/store"
)

// adopter is a provider in memory that takes in machines.
type adopter struct{ *mem.Backend }

func (a adopter) Adopt(ctx context.Context, s backend.AdoptSpec) (backend.Machine, error) {
	m, err := a.Create(ctx, backend.Spec{Token: s.Token, Name: s.Name})
	m.Adopted = true
	return m, err
}

func (a adopter) Get(ctx context.Context, r backend.Ref) (backend.Machine, error) {
	m, err := a.Backend.Get(ctx, r)
	m.Adopted = true
	return m, err
}

// The setting in which a store of test data has the machines of its providers, by backend.
const machinesKey = "test_machines"

// newHostKey is what a machine answers that is asked for another host key.
func newHostKey(string) (api.HostKey, error) {
	return api.HostKey{PublicKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n"},
		nil
}

// TestWriteUnderWay writes the test data of TestOperationsOfAnOlderBuild: a store with an operation under way at each
// fault point of each kind, as kill -9 leaves it, each on an instance of its own that is named for the point. It is run
// in a checkout of the commit whose operations are wanted, into which this file was copied. Without a file's name it
// only shows that it can:
//
//	BERTH_WRITE_UNDERWAY=COMMIT.db.gz go test -count=1 -run TestWriteUnderWay ./backend/service/workspace
func TestWriteUnderWay(t *testing.T) {
	to := cmp.Or(os.Getenv("BERTH_WRITE_UNDERWAY"), filepath.Join(t.TempDir(), "some.db.gz"))
	e := newEnv(t)
	ssh := adopter{mem.New()}
	ssh.Line = backend.Line{SSH: &backend.SSHTarget{Host: "192.0.2.1"}}
	e.lines.setup.hostKey = newHostKey
	for _, point := range append(FaultPoints(), MachineFaultPoints()...) {
		if strings.HasSuffix(point, ".begin.before") || strings.HasSuffix(point, ".end.after") {
			continue // nothing is under way
		}
		e.leaveAt(ssh, point)
	}
	st, err := store.Open(t.Context(), e.path)
	require.NoError(t, err)
	machines := map[string][]backend.Machine{}
	for name, b := range map[string]backend.Backend{"mem": e.mem, "ssh": ssh} {
		machines[name], err = b.List(t.Context())
		require.NoError(t, err)
	}
	doc, err := json.Marshal(machines)
	require.NoError(t, err)
	require.NoError(t, st.Apply(t.Context(), &store.Change{Settings: map[string]string{machinesKey: string(doc)}}))
	require.NoError(t, st.Trim(t.Context(), 100, time.Now())) // the past is not needed
	require.NoError(t, st.Close())
	raw, err := sql.Open("sqlite", e.path)
	require.NoError(t, err)
	_, err = raw.ExecContext(t.Context(), "VACUUM")
	require.NoError(t, err)
	require.NoError(t, raw.Close())
	db, err := os.Open(e.path)
	require.NoError(t, err)
	defer db.Close()
	out, err := os.Create(to)
	require.NoError(t, err)
	z, _ := gzip.NewWriterLevel(out, gzip.BestCompression)
	_, err = io.Copy(z, db)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	require.NoError(t, out.Close())
}

// leaveAt makes an instance and leaves an operation on it at the point: what runs stands still there, and the store
// accepts nothing more.
func (e *env) leaveAt(ssh backend.Backend, point string) {
	t := e.t
	kind, name := point[:len(point)-len(rest(point))], strings.ReplaceAll(point, ".", "-")
	st, err := store.Open(t.Context(), e.path)
	require.NoError(t, err)
	died, over := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(over) })
	var armed atomic.Bool
	var once sync.Once
	w, err := Open(t.Context(), Options{Store: dying(st, died),
		Backends: map[string]backend.Backend{"mem": e.mem, "ssh": ssh},
		Dialer:   e.lines, Defaults: Defaults{Backend: "mem"}, Limits: Limits{Backoff: time.Millisecond},
		Fault: func(p string) {
			if armed.Load() && p == point {
				once.Do(func() { close(died) })
				<-over
			}
		}})
	require.NoError(t, err)
	done := func(op api.Operation, err error) {
		require.NoError(t, err, point)
		require.Equal(t, api.OpSucceeded, ended(t, w, op).State, point)
	}
	if kind == opHostKey {
		line := e.mem.Line
		e.mem.Line = backend.Line{SSH: &backend.SSHTarget{Host: "192.0.2.1", Made: true}}
		defer func() { e.mem.Line = line }()
	}
	if kind != opCreate && kind != opAdopt {
		done(w.Create(e.ctx(), api.CreateRequest{Name: name, OnStart: "true"}))
	}
	switch kind {
	case opStart:
		done(w.Action(e.ctx(), name, opStop, api.ActionRequest{}))
	case opRestore:
		done(w.Snapshots.Take(e.ctx(), name, api.SnapshotRequest{Name: "before"}))
	case opHostKey:
		rec, err := w.Record(name)
		require.NoError(t, err)
		require.NoError(t, w.keep(t.Context(), rec.ID, func(rec *store.Instance) { rec.HostKeys = "SHA256:first" }))
	}
	armed.Store(true)
	go func() { // the point may be in the call itself
		switch kind {
		case opCreate:
			_, err = w.Create(e.ctx(), api.CreateRequest{Name: name, Setup: "true", OnStart: "true"})
		case opAdopt:
			_, err = w.Adopt(e.ctx(), api.AdoptRequest{Name: name, Target: "me@192.0.2.1"})
		case opSetup:
			_, err = w.Setups.Begin(e.ctx(), name, api.SetupRequest{Setup: "true"})
		case opSnapshot:
			_, err = w.Snapshots.Take(e.ctx(), name, api.SnapshotRequest{Name: "before"})
		case opRestore:
			_, err = w.Snapshots.Restore(e.ctx(), name, api.SnapshotRequest{Name: "before"})
		case opImage:
			_, err = w.Images.Build(e.ctx(), api.ImageRequest{Name: name, From: name})
		case opHostKey:
			_, err = w.Action(e.ctx(), name, opRestart, api.ActionRequest{}) // is followed by it
		default:
			_, err = w.Action(e.ctx(), name, kind, api.ActionRequest{})
		}
		if err != nil {
			t.Errorf("%s: %v", point, err)
		}
	}()
	select {
	case <-died:
	case <-time.After(time.Minute):
		t.Fatalf("%s was not reached", point)
	}
	require.NoError(t, st.Close())
}

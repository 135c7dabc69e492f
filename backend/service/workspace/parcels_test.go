package workspace

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/transport/filecopy"
)

// brought are the folders that an agent was sent.
type brought struct {
	stuck    chan struct{} // it takes no folder; closed when one was to come
	folderMu sync.Mutex
	dir      string
	sends    int
	folders  map[string]string // of jobs, by UUID
}

func (b *brought) routes(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/copy", func(w http.ResponseWriter, r *http.Request) {
		st, err := api.Upgrade(w, r)
		if err != nil {
			return
		}
		defer st.Close()
		var q api.CopyRequest
		if err := st.ReadRequest(&q, time.Minute); err != nil {
			return
		}
		b.folderMu.Lock()
		defer b.folderMu.Unlock()
		if b.stuck != nil {
			close(b.stuck)
			b.stuck = nil
			_, _ = io.Copy(io.Discard, st.Conn) // until the other side hangs up
			return
		}
		if b.dir == "" {
			b.dir, _ = os.MkdirTemp("", "bf")
		}
		b.sends++
		to := filecopy.Receiver{Target: filepath.Join(b.dir, q.Sent), Contents: true, Update: q.Update}
		_, _ = to.Receive(r.Context(), st)
	})
	mux.HandleFunc("POST /v1/copy/take", func(w http.ResponseWriter, r *http.Request) {
		var q api.TakeRequest
		err := api.ReadJSON(r, &q)
		b.folderMu.Lock()
		defer b.folderMu.Unlock()
		to := filepath.Join(b.dir, q.UUID)
		if _, serr := os.Stat(to); err == nil && serr != nil {
			err = os.Rename(filepath.Join(b.dir, q.Sent), to)
		}
		if err != nil {
			api.WriteError(w, err)
			return
		}
		if b.folders == nil {
			b.folders = map[string]string{}
		}
		b.folders[q.UUID] = to
		api.WriteJSON(w, 200, api.Taken{Path: to})
	})
}

// has are the files of a job's folder.
func (b *brought) has(t *testing.T, uuid string) map[string]string {
	t.Helper()
	b.folderMu.Lock()
	defer b.folderMu.Unlock()
	t.Cleanup(func() { _ = os.RemoveAll(b.dir) })
	return files(t, b.folders[uuid])
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range list {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		out[e.Name()] = string(text)
	}
	return out
}

// send sends a folder for a job that is to be kept.
func (e *env) send(w *Workspace, uuid string, what map[string]string) error {
	e.t.Helper()
	dir := e.t.TempDir()
	for name, text := range what {
		require.NoError(e.t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	a, b := net.Pipe()
	sent := make(chan error, 1)
	go func() {
		_, err := (&filecopy.Sender{Source: dir + "/."}).Send(e.t.Context(), api.NewStream(a, bufio.NewReader(a)))
		sent <- err
	}()
	err := w.Outbox.TakeParcel(e.ctx(), "vision", uuid, api.NewStream(b, bufio.NewReader(b)))
	_ = b.Close()
	if serr := <-sent; err == nil {
		err = serr
	}
	return err
}

func (e *env) parcel(w *Workspace, uuid string, what map[string]string) {
	e.t.Helper()
	require.NoError(e.t, e.send(w, uuid, what))
}

// noParcels waits until no folder of a job is kept any more.
func (e *env) noParcels() {
	e.t.Helper()
	soon(e.t, "no folder is left", func() bool {
		list, err := os.ReadDir(e.parcels())
		return os.IsNotExist(err) || err == nil && len(list) == 0
	})
}

// TestAParcelGoesWithItsLetter: the folder is as it was at the submit, is handed over with its job, and removed then.
func TestAParcelGoesWithItsLetter(t *testing.T) {
	e, w, done := stopped(t)
	id := uuid.NewString()
	q := api.JobRequest{UUID: id, Argv: []string{"true"}, Taken: true}
	_, _, err := w.Outbox.Submit(e.ctx(), "vision", q)
	require.ErrorIs(t, err, &api.Error{Code: api.CodeRefused}, "it was not sent")
	e.parcel(w, id, map[string]string{"a": "first", "b": ""})
	e.parcel(w, id, map[string]string{"a": "second"}) // the client began anew
	_, kept, err := w.Outbox.Submit(e.ctx(), "vision", q)
	require.NoError(t, err)
	require.True(t, kept)
	require.ErrorIs(t, e.send(w, id, nil), &api.Error{Code: api.CodeConflict}, "it has its folder")
	require.Equal(t, map[string]string{"a": "second"}, files(t, filepath.Join(e.parcels(), id)))

	// Who cancels it needs no folder any more.
	other := uuid.NewString()
	e.parcel(w, other, map[string]string{"x": ""})
	_, _, err = w.Outbox.Submit(e.ctx(), "vision", api.JobRequest{UUID: other, Argv: []string{"true"}, Taken: true})
	require.NoError(t, err)
	_, err = w.Outbox.Cancel(e.ctx(), "vision", other)
	require.NoError(t, err)
	require.NoDirExists(t, filepath.Join(e.parcels(), other))
	require.DirExists(t, filepath.Join(e.parcels(), id))

	// One that was sent when the instance ran again is kept all the same: its folder is here.
	done()
	w, _ = e.open()
	late := uuid.NewString()
	e.parcel(w, late, map[string]string{"late": "x"})
	e.action(w, "start")
	_, kept, err = w.Outbox.Submit(e.ctx(), "vision", api.JobRequest{UUID: late, Argv: []string{"true"}, Taken: true})
	require.NoError(t, err)
	require.True(t, kept)
	soon(t, "both are handed over", func() bool { return w.Outbox.Waiting() == 0 })
	require.Equal(t, []string{id, late}, e.lines.jobs.uuids())
	require.Equal(t, map[string]string{"a": "second"}, e.lines.jobs.has(t, id))
	require.Equal(t, map[string]string{"late": "x"}, e.lines.jobs.has(t, late))
	e.noParcels()
}

// TestAParcelOfNobody: one that broke off, or never got its letter, goes; so does that of a letter that went with its
// instance.
func TestAParcelOfNobody(t *testing.T) {
	e, w, done := stopped(t)
	broken := uuid.NewString()
	a, b := net.Pipe()
	_ = a.Close()
	require.Error(t, w.Outbox.TakeParcel(e.ctx(), "vision", broken, api.NewStream(b, bufio.NewReader(b))))
	e.noParcels()
	require.Error(t, e.send(w, "../escape", nil))

	id, alone := uuid.NewString(), uuid.NewString()
	e.parcel(w, alone, nil)
	e.parcel(w, id, map[string]string{"f": ""})
	_, _, err := w.Outbox.Submit(e.ctx(), "vision", api.JobRequest{UUID: id, Argv: []string{"true"}, Taken: true})
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(e.parcels(), uuid.NewString()+coming), 0o700))
	done()
	w, done = e.open()
	list, err := os.ReadDir(e.parcels())
	require.NoError(t, err)
	require.Len(t, list, 2, "what was coming is gone")
	e.action(w, "delete")
	soon(t, "that of the letter goes with it", func() bool {
		w.Outbox.sweep()
		_, err := os.Stat(filepath.Join(e.parcels(), id))
		return os.IsNotExist(err)
	})
	done()
	old := time.Now().Add(-2 * parcelAhead)
	require.NoError(t, os.Chtimes(filepath.Join(e.parcels(), alone), old, old))
	e.open()
	e.noParcels()
}

// TestAJobThatIsForgottenThere was handed over, and removed there before that could be noted here: it is not again.
func TestAJobThatIsForgottenThere(t *testing.T) {
	e, w, done := stopped(t)
	plain, id := e.keep(w, "true"), uuid.NewString()
	e.parcel(w, id, map[string]string{"f": ""})
	_, _, err := w.Outbox.Submit(e.ctx(), "vision", api.JobRequest{UUID: id, Argv: []string{"true"}, Taken: true})
	require.NoError(t, err)
	e.lines.jobs.mu.Lock()
	e.lines.jobs.lose = 1000
	e.lines.jobs.mu.Unlock()
	e.action(w, "start")
	soon(t, "the first is offered", func() bool { return len(e.lines.jobs.uuids()) == 1 })
	done()
	e.lines.jobs.mu.Lock()
	e.lines.jobs.lose, e.lines.jobs.taken = 0, nil
	e.lines.jobs.forgot = map[string]bool{plain: true, id: true}
	e.lines.jobs.mu.Unlock()
	w, _ = e.open()
	soon(t, "both are over", func() bool { return w.Outbox.Waiting() == 0 })
	require.Empty(t, e.lines.jobs.uuids())
	_, err = w.Outbox.Job("vision", plain)
	require.ErrorIs(t, err, &api.Error{Code: api.CodeNotFound})
	e.noParcels()
}

// TestAFolderThatTakesLong is no reason to wait for who cancels its job.
func TestAFolderThatTakesLong(t *testing.T) {
	e, w, _ := stopped(t)
	id := uuid.NewString()
	e.parcel(w, id, map[string]string{"f": ""})
	_, _, err := w.Outbox.Submit(e.ctx(), "vision", api.JobRequest{UUID: id, Argv: []string{"true"}, Taken: true})
	require.NoError(t, err)
	stuck := make(chan struct{})
	e.lines.jobs.stuck = stuck
	e.action(w, "start")
	<-stuck
	job, err := w.Outbox.Cancel(e.ctx(), "vision", id)
	require.NoError(t, err)
	require.Equal(t, api.JobCancelled, job.State)
	require.Empty(t, e.lines.jobs.uuids())
	e.noParcels()
}

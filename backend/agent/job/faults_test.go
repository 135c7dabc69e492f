package job

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/joblog"
	"berth/backend/api"
	"berth/queue"
	"berth/queue/plan"
)

// A panic costs what was asked for, and the queue goes on with all that was acknowledged.
func TestAQueueThatPanicsGoesOn(t *testing.T) {
	l, r, _ := opened(t, t.TempDir())
	id := submitted(t, l, spec("true"))
	eventually(t, "it starts", r.has(&r.started, id))
	_, err := l.do(t.Context(), &ask{inputs: func(context.Context) ([]plan.Input, error) { panic("a mistake") }})
	require.ErrorIs(t, err, errPanic)
	_, err = l.submit(t.Context(), spec("true"))
	require.Equal(t, api.CodeFailed, api.AsError(err).Code, "not for now: %v", err)
	l.emit(queue.Event{ID: id, Attempt: 1, Ended: &queue.Ended{At: time.Now(), Exit: 4}})
	_, err = l.do(t.Context(), &ask{look: func(*plan.Planner) { l.retryAt = time.Now() }})
	require.NoError(t, err)
	eventually(t, "it goes on", func() bool {
		j, err := l.job(t.Context(), id)
		return err == nil && j.State == queue.Failed && *j.ExitCode == 4
	})
	require.Greater(t, submitted(t, l, spec("true")).Number, id.Number)
}

// After a reboot what ran is lost, with that reason, and what waited goes on waiting, or starts.
func TestAReboot(t *testing.T) {
	dir := t.TempDir()
	l, r, stop := opened(t, dir)
	var ids []queue.ID
	for range 4 {
		ids = append(ids, submitted(t, l, spec("true")))
	}
	for _, id := range ids[:2] {
		eventually(t, "it starts", r.has(&r.started, id))
		l.emit(queue.Event{ID: id, Attempt: 1, Started: &queue.Started{PID: 1, At: time.Now(), Supervised: true}})
		eventually(t, "it runs", func() bool { j, err := l.job(t.Context(), id); return err == nil && j.State == queue.Running })
	}
	stop()
	l, r, _ = opened(t, dir)
	const why = "the machine was restarted while it ran"
	eventually(t, "it is looked at", r.has(&r.adopted, ids[0]))
	l.emit(queue.Event{ID: ids[0], Attempt: 1, Ended: &queue.Ended{At: time.Now(), Exit: -1, Lost: why}})
	eventually(t, "the next one starts in its place", r.has(&r.started, ids[2]))
	v, err := l.one(t.Context(), ids[0])
	require.NoError(t, err)
	require.Equal(t, api.JobLost, v.State)
	require.Equal(t, why, v.Message)
	require.Nil(t, v.ExitCode)
	for i, want := range []queue.State{queue.Lost, queue.Running, queue.Preparing, queue.Queued} {
		j, err := l.job(t.Context(), ids[i])
		require.NoError(t, err)
		require.Equal(t, want, j.State, "job %s", ids[i])
	}
}

// Who waits for a job, or follows a log, is sent to the next agent at once when this one leaves the queue.
func TestWhoWaitsIsSentOn(t *testing.T) {
	l, r, stop := opened(t, t.TempDir())
	id := submitted(t, l, spec("true"))
	held := spec("true")
	held.Hold = true
	waits := submitted(t, l, held)
	eventually(t, "it starts", r.has(&r.started, id))
	dir := l.runDir(id, 1)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(joblog.Path(dir), []byte("line 1\n"), 0o600))
	j, err := l.job(t.Context(), id)
	require.NoError(t, err)
	errs := make([]error, 4)
	var wg sync.WaitGroup
	logs := httptest.NewRecorder()
	for i, f := range []func() error{
		func() error { _, err := l.wait(t.Context(), id, j.Seq); return err },
		func() error {
			return l.serveLog(t.Context(), httptest.NewRecorder(), waits, logRequest{follow: true})
		},
		func() error { return l.serveLog(t.Context(), logs, id, logRequest{follow: true}) },
		func() error { _, err := l.wait(t.Context(), waits, -1); return err }, // answered before
	} {
		wg.Go(func() { errs[i] = f() })
	}
	time.Sleep(50 * time.Millisecond) // they wait
	stop()
	wg.Wait()
	require.Equal(t, api.CodeMoved, api.AsError(errs[0]).Code, errs[0])
	require.Equal(t, api.CodeMoved, api.AsError(errs[1]).Code, errs[1])
	require.ErrorIs(t, errs[2], errBroken)
	require.Contains(t, logs.Body.String(), "line 1\n")
	require.NotContains(t, logs.Body.String(), `"end":true`)
	require.NoError(t, errs[3])
	_, err = l.one(t.Context(), id)
	require.Equal(t, api.CodeMoved, api.AsError(err).Code, err)
}

// What fails in the journal is no mistake of who asks.
func TestAJournalThatFailsIsNoWrongUse(t *testing.T) {
	l, _, _ := opened(t, t.TempDir())
	require.NoError(t, l.journal.Close())
	s := spec("true")
	s.UUID = "u-1"
	for range 2 { // in the lookup, and in the write
		_, err := l.submit(t.Context(), s)
		require.Equal(t, api.CodeFailed, api.AsError(err).Code, "%v", err)
		s.UUID = ""
	}
}

// Also where the journal and its file of numbers are both gone, no number is given again.
func TestNumbersGoOnAboveTheFoldersOfRuns(t *testing.T) {
	dir := t.TempDir()
	l, _, stop := opened(t, dir)
	for range 3 {
		id := submitted(t, l, spec("true"))
		require.NoError(t, os.MkdirAll(l.runDir(id, 1), 0o700))
	}
	stop()
	files, err := filepath.Glob(filepath.Join(dir, "[jn]*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		require.NoError(t, os.WriteFile(f, make([]byte, 8192), 0o600))
	}
	l, _, _ = opened(t, dir)
	require.NotEmpty(t, l.journal.Told())
	require.Equal(t, int64(4), submitted(t, l, spec("true")).Number)
}

// Many submits at once are all taken, each with a number of its own.
func TestManySubmitsAtOnce(t *testing.T) {
	n := 1000
	if os.Getenv("BERTH_CHAOS") != "" {
		n = 10_000
	}
	l, _, _ := opened(t, t.TempDir())
	var mu sync.Mutex
	seen := map[queue.ID]bool{}
	var wg sync.WaitGroup
	var errs []error
	for i := range n {
		wg.Go(func() {
			s := spec("true")
			s.UUID = fmt.Sprint("u-", i)
			id, err := l.submit(t.Context(), s)
			if err == nil {
				_, err = l.one(t.Context(), id) // as the answer needs it
			}
			mu.Lock()
			defer mu.Unlock()
			seen[id] = true
			errs = append(errs, err)
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	require.Len(t, seen, n)
}

// What a clock does while something waits for a time does not put that off: it is looked at again.
func TestAJumpOfTheClockIsSeen(t *testing.T) {
	l, _, _ := opened(t, t.TempDir())
	s := spec("true")
	s.Begin = time.Now().Add(time.Hour)
	submitted(t, l, s)
	var wake, sleep time.Duration
	_, err := l.do(t.Context(), &ask{look: func(*plan.Planner) { wake, sleep = time.Until(l.wake), l.sleep() }})
	require.NoError(t, err)
	require.Greater(t, wake, 50*time.Minute)
	require.LessOrEqual(t, sleep, lookAgain)
}

func TestNamesAreWhole(t *testing.T) {
	for in, want := range map[string]string{"/usr/bin/python": "python", "a b": "a", "\xff": "?", "/": "",
		strings.Repeat("x", 39) + "é": strings.Repeat("x", 39)} {
		require.Equal(t, want, nameOf([]string{in}))
	}
}

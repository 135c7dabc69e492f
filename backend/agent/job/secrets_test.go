package job

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"berth/backend/agent/job/run"
	"berth/backend/api"
	"berth/queue"
	"berth/queue/journal"
)

// keeping is a loop that keeps secrets.
func keeping(t *testing.T, dir string) (*loop, *recorder, func()) {
	t.Helper()
	l, r, stop := opened(t, dir)
	l.secrets = run.Secrets{Dir: filepath.Join(dir, "secrets")}
	return l, r, stop
}

func files(t require.TestingT, dir string) (n int) {
	entries, err := os.ReadDir(filepath.Join(dir, "secrets"))
	if !os.IsNotExist(err) {
		require.NoError(t, err)
	}
	return len(entries)
}

func secretSpec(uuid string) queue.Spec {
	s := spec("true")
	s.UUID, s.Secrets = uuid, []string{"TOKEN"}
	return s
}

// A job's secrets are there until it has ended for good.
func TestSecretsAreKeptUntilTheEnd(t *testing.T) {
	dir := t.TempDir()
	l, r, stop := keeping(t, dir)
	values := map[string]string{"TOKEN": "hush"}
	s := secretSpec("u")
	s.Retries = 1
	id, err := l.submitWith(t.Context(), s, values)
	require.NoError(t, err)
	entries, err := os.ReadDir(filepath.Join(dir, "secrets"))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	fi, err := entries[0].Info()
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), fi.Mode())
	again, err := l.submitWith(t.Context(), s, values)
	require.NoError(t, err)
	require.Equal(t, id, again)
	r.ends(t, l, id, 1, 1)
	eventually(t, "it waits for another run", func() bool { j, err := l.job(t.Context(), id); return err == nil && j.Retried == 1 })
	require.Equal(t, 1, files(t, dir), "a retry needs them")
	stop()

	// Another agent has them, too, and removes what no job has.
	require.NoError(t, run.Secrets{Dir: filepath.Join(dir, "secrets")}.Keep("never submitted", values))
	l, _, stop = keeping(t, dir)
	require.Equal(t, map[int64]string{id.Number: "u"}, l.kept)
	l.sweepSecrets()
	require.Equal(t, 1, files(t, dir))
	require.NoError(t, l.tell(t.Context(), id, "cancel", "", "me"))
	eventually(t, "they are removed", func() bool { return files(t, dir) == 0 })
	err = l.tell(t.Context(), id, "retry", "", "me")
	require.Equal(t, api.CodeConflict, api.AsError(err).Code)
	require.ErrorContains(t, err, "secrets were removed")
	_, err = l.submitWith(t.Context(), s, values) // said again, late
	require.NoError(t, err)
	require.Zero(t, files(t, dir))

	refused := secretSpec("v")
	refused.Name = strings.Repeat("x", queue.MaxSpecBytes+1)
	_, err = l.submitWith(t.Context(), refused, values)
	require.Equal(t, api.CodeUsage, api.AsError(err).Code)
	after := secretSpec("w")
	after.After = []queue.Dependency{{ID: queue.ID{Number: 999}, When: queue.Success}}
	_, err = l.submitWith(t.Context(), after, values)
	require.Error(t, err)
	require.Zero(t, files(t, dir), "a refused submit leaves none")
	stop()
	_, err = l.submitWith(t.Context(), secretSpec("x"), values)
	require.Equal(t, api.CodeMoved, api.AsError(err).Code)

	l, _, _ = keeping(t, dir)
	l.sweepSecrets()
	require.Zero(t, files(t, dir))
}

// TestSecretsAreNowhereElse: whatever is done with jobs, the values are in no file but theirs, in no answer, and theirs
// are there exactly as long as the job may run.
func TestSecretsAreNowhereElse(t *testing.T) {
	const value = "hush-4711"
	base := ""
	if _, err := os.Stat("/dev/shm"); err == nil { // hundreds of journals are quicker in memory
		base = "/dev/shm"
	}
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(base, "berth-secrets-")
		require.NoError(rt, err)
		defer os.RemoveAll(dir)
		l, r, stop := keeping(t, dir)
		var ids []queue.ID
		for i := range rapid.IntRange(1, 4).Draw(rt, "jobs") {
			s := secretSpec(string(rune('a' + i)))
			s.Hold = rapid.Bool().Draw(rt, "held")
			s.Retries = rapid.IntRange(0, 1).Draw(rt, "retries")
			if rapid.Bool().Draw(rt, "array") {
				s.Array = &queue.Array{Ranges: []queue.Range{{First: 0, Last: 2, Step: 1}}}
			}
			if rapid.IntRange(0, 4).Draw(rt, "wrong") == 0 {
				s.Argv = nil
			}
			if id, err := l.submitWith(t.Context(), s, map[string]string{"TOKEN": value}); err == nil {
				ids = append(ids, id)
			} else {
				require.NotContains(rt, err.Error(), value)
			}
		}
		for range rapid.IntRange(0, 6).Draw(rt, "steps") {
			if len(ids) == 0 {
				break
			}
			id := rapid.SampledFrom(ids).Draw(rt, "job")
			switch rapid.SampledFrom([]string{"cancel", "end", "next agent", "remove", "retry"}).Draw(rt, "what") {
			case "cancel":
				_ = l.tell(t.Context(), id, "cancel", "", "me")
			case "end":
				if j, err := l.job(t.Context(), id); err == nil && j.State.Active() {
					l.emit(queue.Event{ID: id, Attempt: j.Attempt, Ended: &queue.Ended{At: time.Now(), Exit: 1}})
				}
			case "next agent":
				stop()
				l, r, stop = keeping(t, dir)
				l.sweepSecrets()
			case "remove":
				_ = l.remove(t.Context(), id)
			case "retry":
				_ = l.tell(t.Context(), id, "retry", "", "me")
			}
		}
		for range 2 { // the first answer may come before what came in with it is written
			_, err := l.counts(t.Context())
			require.NoError(rt, err)
		}
		live := 0
		jobs, _, err := l.journal.Page(t.Context(), journal.Query{Limit: 100})
		require.NoError(rt, err)
		for _, j := range jobs {
			if !j.State.Done() {
				live++
			}
			v, err := l.one(t.Context(), j.ID)
			require.NoError(rt, err)
			require.Equal(rt, []string{"TOKEN"}, v.Secrets)
			require.NotContains(rt, sprint(v), value)
		}
		require.Equal(rt, live, files(rt, dir))
		_ = r
		stop()
		require.NoError(rt, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			require.NotContains(rt, string(b), value, path) // its own has it as base64
			return err
		}))
	})
}

func TestSecretsOfARequest(t *testing.T) {
	for _, q := range []api.JobRequest{
		{UUID: "u", Secrets: map[string][]byte{"": []byte("hush")}},
		{UUID: "u", Secrets: map[string][]byte{"A=B": []byte("hush")}},
		{UUID: "u", Secrets: map[string][]byte{"A": []byte("hush\x00")}},
		{UUID: "u", Secrets: map[string][]byte{"A": []byte("hush" + strings.Repeat("x", run.MaxSecret))}},
		{Secrets: map[string][]byte{"A": []byte("hush")}},
	} {
		_, _, err := secretsOf(q)
		require.Equal(t, api.CodeUsage, api.AsError(err).Code)
		require.NotContains(t, err.Error(), "hush")
	}
	names, values, err := secretsOf(api.JobRequest{UUID: "u", Secrets: map[string][]byte{"B": []byte("\xff"), "A": nil}})
	require.NoError(t, err)
	require.Equal(t, []string{"A", "B"}, names)
	require.Equal(t, map[string]string{"A": "", "B": "\xff"}, values)
}

// sprint is a document as it is sent.
func sprint(v api.Job) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

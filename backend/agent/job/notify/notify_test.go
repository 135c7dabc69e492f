package notify

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

// write writes a file of hooks.
func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := Path(t.TempDir())
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(text), mode))
	require.NoError(t, os.Chmod(path, mode))
	return path
}

func TestTheFile(t *testing.T) {
	path := write(t, "[notify.mail]\ncommand = \"\"\"mail me\n\"\"\"\n[notify.chat]\nurl = \"https://chat.example.org/token\"\n", 0o600)
	hooks, err := Read(path)
	require.NoError(t, err)
	require.Equal(t, Hooks{"mail": {Command: "mail me\n"}, "chat": {URL: "https://chat.example.org/token"}}, hooks)
	require.NoError(t, hooks.Check(path, []string{"chat", "mail"}))
	err = hooks.Check(path, []string{"chat", "nobody"})
	require.Equal(t, api.CodeUsage, api.AsError(err).Code)
	require.ErrorContains(t, err, `"nobody"`)
	require.Contains(t, api.AsError(err).Hint, "chat, mail")

	none, err := Read(filepath.Join(t.TempDir(), "nothing"))
	require.NoError(t, err)
	require.Contains(t, api.AsError(none.Check(path, []string{"chat"})).Hint, "[notify.chat]")

	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o602} {
		_, err = Read(write(t, "", mode))
		require.ErrorContains(t, err, "by others", mode)
		require.Contains(t, api.AsError(err).Hint, "chmod 600")
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	_, err = Read(pipe)
	require.ErrorContains(t, err, "no plain file")
}

// What is wrong with the file is said without what it says.
func TestWhatIsWrongWithTheFile(t *testing.T) {
	for text, want := range map[string]string{
		"[notify.a]\n": "[notify.a] has either command or url",
		"[notify.a]\ncommand='TOKEN'\nurl='https://TOKEN'":   "either command or url",
		"[notify.a]\nurl='ftp://TOKEN'":                      "neither https:// nor http://",
		"[notify.a]\nurl='://TOKEN'":                         "neither https:// nor http://",
		"[notify.a]\nurl=['TOKEN']":                          ":2:",
		"[notify.a]\nurl=\"TOKEN":                            ":2:",
		"[notify.a]\nurl='TOKEN'\nurl='TOKEN'":               "agent.toml",
		"[notify.'a b']\ncommand='TOKEN'":                    "no name",
		"[notify.a]\ncommand='x'\nwords='TOKEN'":             "words",
		"[notify.a]\ncommand='" + strings.Repeat("x", 40000): "more than",
	} {
		if strings.HasSuffix(text, "xxx") {
			text += "'"
		}
		_, err := Read(write(t, text, 0o600))
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "TOKEN")
		require.Equal(t, api.CodeUsage, api.AsError(err).Code)
	}
}

func FuzzTheFile(f *testing.F) {
	f.Add("[notify.a]\ncommand = 'x'\n")
	f.Add("[notify.a]\ncommand = 'x'\n[[rules]]\nnotify = ['a']\nlonger_than = '1h'\n[[rules]]\nstates = 3\n")
	f.Add("[notify.a]\nurl = \"https://example.org\"\n[notify.\"b c\"]\n")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := parse("file", []byte(text))
		if err != nil {
			return
		}
		hooks := file.Hooks
		for _, r := range file.Rules {
			require.NotEmpty(t, r.Notify)
			require.NoError(t, hooks.Check("file", r.Notify))
		}
		for n, h := range hooks {
			require.True(t, IsName(n))
			require.NoError(t, h.check())
			require.NoError(t, hooks.Check("file", []string{n}))
		}
	})
}

func notice() Notice {
	id, code := "14", 3
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	return Of(&api.Job{ID: &id, UUID: "u", Name: "train\x1b[31m\x00", State: api.JobFailed, ExitCode: &code, Cause: "exit", Attempt: 2,
		StartedAt: at, EndedAt: at.Add(2 * time.Hour), LastLines: "one\ntwo\x07"}, "vision")
}

// A command gets what is to be told in its environment and on its input, and stands in no command line.
func TestACommand(t *testing.T) {
	dir := t.TempDir()
	script := `cat >notice.json; tr '\0' '\n' </proc/$$/cmdline >args; pwd >where
printf '%s\n' "$BERTH_JOB_ID" "$BERTH_JOB_STATE" "$BERTH_JOB_EXIT_CODE" "$BERTH_JOB_SECONDS" "$MINE" "$BERTH_NOTICE_TEXT" "$BERTH_JOB_LAST_LINES" >env # TOKEN`
	n := notice()
	require.NoError(t, Hook{Command: script}.Tell(t.Context(), n, []string{"PATH=" + os.Getenv("PATH"), "MINE=yes"}, dir))
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return string(b)
	}
	require.Equal(t, "14\nfailed\n3\n7200.000\nyes\njob 14 (train) on vision failed: exit code 3, after 2h0m0s\none\ntwo\n", read("env"))
	require.Equal(t, "/bin/sh\n/dev/fd/3\n", read("args"))
	var got Notice
	require.NoError(t, json.Unmarshal([]byte(read("notice.json")), &got))
	require.Equal(t, n, got)
	require.Equal(t, 1, got.Version)

	for script, want := range map[string]string{"exit 7 # TOKEN": "exit code 7", "kill -9 $$ # TOKEN": "by a signal",
		"TOKEN-is-no-program": "exit code 127"} {
		err := Hook{Command: script}.Tell(t.Context(), n, nil, dir)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "TOKEN")
	}
	n.LastLines = strings.Repeat("x", 100<<10) // more than a pipe takes: it is not read
	require.NoError(t, Hook{Command: "exit 0"}.Tell(t.Context(), n, nil, dir))
}

// One that hangs is ended with all that it has started.
func TestACommandIsEnded(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Hook{Command: "sleep 1000 & echo $! >pid; mv pid child; wait"}.Tell(ctx, notice(), nil, dir)
	}()
	child := filepath.Join(dir, "child")
	require.Eventually(t, func() bool { _, err := os.Stat(child); return err == nil }, time.Minute, 5*time.Millisecond)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	b, err := os.ReadFile(child)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		s, err := os.ReadFile("/proc/" + strings.TrimSpace(string(b)) + "/stat")
		return err != nil || strings.Contains(string(s), ") Z ")
	}, time.Minute, 5*time.Millisecond)
}

func TestAWebhook(t *testing.T) {
	var got []byte
	var header http.Header
	status := http.StatusNoContent
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/TOKEN" {
			got, _ = io.ReadAll(r.Body)
			header = r.Header
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	n := notice()
	h := Hook{URL: s.URL + "/TOKEN"}
	require.NoError(t, h.Tell(t.Context(), n, nil, "/"))
	var doc Notice
	require.NoError(t, json.Unmarshal(got, &doc))
	require.Equal(t, n, doc)
	require.Equal(t, "application/json", header.Get("Content-Type"))
	require.Equal(t, n.ID, header.Get("Idempotency-Key"))
	for _, status = range []int{302, 404, 500} {
		require.ErrorContains(t, h.Tell(t.Context(), n, nil, "/"), "HTTP status "+strconv.Itoa(status))
	}

	// What is wrong is said without the address.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed := "http://" + l.Addr().String() + "/TOKEN"
	require.NoError(t, l.Close())
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	for url, want := range map[string]string{closed: "refuses the connection", "http://TOKEN.invalid/TOKEN": "its url",
		secure.URL + "/TOKEN": "certificate", "https" + strings.TrimPrefix(s.URL, "http") + "/TOKEN": "can't be reached"} {
		err := Hook{URL: url}.Tell(t.Context(), n, nil, "/")
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "TOKEN")
		require.NotContains(t, err.Error(), "127.0.0.1")
	}
}

func TestBackoffIsBounded(t *testing.T) {
	all := time.Duration(0)
	for n := range Tries {
		require.Positive(t, Backoff(n+1))
		require.LessOrEqual(t, Backoff(n+1), 10*time.Minute)
		all += Backoff(n + 1)
	}
	require.Less(t, all, time.Hour)
	require.Equal(t, 10*time.Minute, Backoff(1<<30))
}

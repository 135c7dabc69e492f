package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

// TestAJobsEndIsTold: by a command and a webhook of the instance, after the agent was killed, too; what they are set up
// with is nowhere else.
func TestAJobsEndIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	home := strings.TrimSpace(w.run("exec", "vision", "--", "sh", "-c", "echo $HOME").out)
	require.DirExists(t, home)
	got := make(chan map[string]any, 10)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		var v map[string]any
		if r.URL.Path == "/TOKEN-OF-URL" && json.Unmarshal(b, &v) == nil {
			got <- v
		}
	}))
	t.Cleanup(s.Close)
	file := filepath.Join(home, ".config", "berth", "agent.toml")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))

	r := w.run("run", "vision", "--notify", "chat", "--", "true")
	require.Equal(t, 2, r.code, r.err)
	require.Contains(t, r.err, "[notify.chat]")
	text := "[notify.chat]\nurl = '" + s.URL + "/TOKEN-OF-URL'\n[notify.file]\ncommand = '''cp /dev/stdin notice; " +
		"echo \"$BERTH_NOTICE_TEXT\" >>told # TOKEN-OF-COMMAND'''\n[notify.broken]\ncommand = 'exit 3 # TOKEN-OF-COMMAND'\n" +
		"[[rules]]\nnotify = ['file', 'chat']\nstates = ['failed']\n[[rules]]\nnotify = 'noone'\n"
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	r = w.run("run", "vision", "--notify", "chat", "--", "true")
	require.Equal(t, 2, r.code, r.err)
	require.Contains(t, r.err, "chmod 600")
	require.NoError(t, os.Chmod(file, 0o600))
	r = w.run("run", "vision", "--notify", "nobody", "--", "true")
	require.Equal(t, 2, r.code, r.err)
	require.Contains(t, r.err, "broken, chat, file")

	id := strings.TrimSpace(w.run("run", "vision", "--name", "train", "--notify", "chat", "--notify", "file", "--notify",
		"broken", "--", "sh", "-c", "seq 30; sleep 0.5; exit 3").out)
	c := w.client()
	info, err := c.Agent("vision").Info(t.Context())
	c.Close()
	require.NoError(t, err)
	_ = syscall.Kill(info.PID, syscall.SIGKILL) // the next one tells
	require.Equal(t, 3, w.run("job", "wait", "vision", id).code)
	v := <-got
	require.Equal(t, "failed", v["state"])
	require.EqualValues(t, 3, v["exit_code"])
	require.Equal(t, "train", v["name"])
	require.Contains(t, v["text"], "job "+id+" (train) on vision failed: exit code 3")
	require.True(t, strings.HasPrefix(v["last_lines"].(string), "11\n"), v["last_lines"])
	told := filepath.Join(home, "told")
	eventually(t, "the command has run", func() bool { b, _ := os.ReadFile(told); return len(b) > 0 })
	b, err := os.ReadFile(told)
	require.NoError(t, err)
	require.Equal(t, v["text"].(string)+"\n", string(b))
	eventually(t, "what is in vain is said", func() bool {
		return strings.Contains(strings.Join(w.job("vision", id).Warnings, "\n"),
			"broken was not told of its end yet (try 1 of 6): its command ended with exit code 3")
	})
	r = w.run("job", "show", "vision", id)
	require.Contains(t, r.out, "chat, file, broken")
	require.Empty(t, got, "it is told once")

	ruled := strings.TrimSpace(w.run("run", "vision", "--name", "plain", "--", "false").out)
	require.Equal(t, 1, w.run("job", "wait", "vision", ruled).code)
	require.Equal(t, "plain", (<-got)["name"], "the rules say so")
	require.Contains(t, w.run("job", "show", "vision", ruled).out, "rule 2: notify: there is no [notify.noone]")

	require.NoError(t, os.Remove(file))
	require.NotContains(t, r.out+w.run("job", "show", "vision", id, "--json").out+w.run("job", "ls", "vision", "--json").out, "TOKEN")
	require.Empty(t, having(t, w.home, "TOKEN-OF"), "the file's words are in another file")
	require.Equal(t, api.JobFailed, w.job("vision", id).State)
}

// having are the files below a folder that have a text.
func having(t *testing.T, dir, text string) (out []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "bin" { // this very program, with this very test
			return filepath.SkipDir
		}
		if err != nil || !d.Type().IsRegular() {
			return nil // it has just gone, or is a socket
		}
		b, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(b), text) {
			out = append(out, path)
		}
		return nil
	}))
	return out
}

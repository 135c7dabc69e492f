package main

import (
	"bytes"
	"context"
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

// killAgent ends the instance's agent with a signal, and waits until it is gone.
func (w *world) killAgent(sig syscall.Signal) {
	w.t.Helper()
	c := w.client()
	defer c.Close()
	var info api.AgentInfo
	eventually(w.t, "the agent answers", func() (ok bool) {
		var err error
		info, err = c.Agent("vision").Info(w.t.Context())
		return err == nil
	})
	require.NoError(w.t, syscall.Kill(info.PID, sig))
	eventually(w.t, "the agent is gone", func() bool { return syscall.Kill(info.PID, 0) != nil })
}

// submit hands a job over and returns its id.
func (w *world) submit(args ...string) string {
	w.t.Helper()
	return strings.TrimSpace(w.ok(append([]string{"run", "vision"}, args...)...))
}

// TestAFollowedLogOverRestarts kills and ends agents under a log that is followed: each byte comes once.
func TestAFollowedLogOverRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	const script = `i=0; while [ $i -lt 150 ]; do printf 'line %d\r\377\0\033[31m\n' $i; i=$((i+1)); sleep 0.05; done`
	id := w.submit("--", "sh", "-c", script)
	cmd := w.cmd(t.Context(), "job", "logs", "vision", id, "--follow")
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	require.NoError(t, cmd.Start())
	for i := range 5 {
		time.Sleep(700 * time.Millisecond)
		w.killAgent([]syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[i%2])
	}
	require.NoError(t, cmd.Wait(), stderr.String())
	var want strings.Builder
	for i := range 150 {
		want.WriteString("line " + strconv.Itoa(i) + "\r\xff\x00\x1b[31m\n")
	}
	require.Equal(t, want.String(), out.String())
	require.Zero(t, w.run("job", "wait", "vision", id).code)
}

// TestHostileJobs: what no job should do harms none but itself.
func TestHostileJobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	closes := w.submit("--", "sh", "-c", "exec >&- 2>&- <&-; sleep 0.1; exit 3")
	daemon := w.submit("--name", "\x1b]0;x\a\nnext", "--", "sh", "-c", "(setsid sh -c 'sleep 1000 & exit 0' &) ; exit 0")
	bytesID := w.submit("--", "printf", "%s|", "a\xff\nb", "\x1b[31m", "", "$HOME", "{x}")
	param := w.submit("--param", "k=a\x1b[2J,é", "--", "printf", "%s", "{k}")
	r := w.run("run", "vision", "--param", "k=\xff", "--", "true")
	require.Equal(t, 2, r.code)
	require.Contains(t, r.err, "no text in UTF-8")
	require.Equal(t, 3, w.run("job", "wait", "vision", closes).code)
	require.Zero(t, w.run("job", "wait", "vision", bytesID).code)
	require.Equal(t, "a\xff\nb|\x1b[31m||$HOME|{x}|", w.ok("job", "logs", "vision", bytesID))
	require.Zero(t, w.run("job", "wait", "vision", param).code)
	require.Equal(t, "a\x1b[2J", w.ok("job", "logs", "vision", param+"_0"))
	require.Equal(t, "é", w.ok("job", "logs", "vision", param+"_1"))
	eventually(t, "what it left holds its slot, and is named", func() bool {
		row := w.ok("job", "ls", "vision", "--state", "stopping")
		return strings.Contains(row, daemon) && strings.Contains(row, "sleep")
	})
	for _, list := range []string{w.ok("job", "ls", "vision", "--all"), w.ok("job", "show", "vision", bytesID)} {
		require.NotContains(t, list, "\x1b")
		require.NotContains(t, list, "\xff")
	}
	w.ok("job", "cancel", "vision", daemon)
	require.Zero(t, w.run("job", "wait", "vision", daemon).code, "its main process had ended well")
}

// journalOf is where the instance's journal of jobs is.
func (w *world) journalOf() string {
	w.t.Helper()
	all, err := filepath.Glob(filepath.Join(w.home, "state", "hosts", "*", "local", "*", "agent", "jobs", "jobs.db"))
	require.NoError(w.t, err)
	require.Len(w.t, all, 1)
	return all[0]
}

// TestAJournalThatIsNotReadable: one that a newer build wrote is left as it is, and one of zeros is kept aside. The
// instance works all the same, and no number is given again.
func TestAJournalThatIsNotReadable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	require.Equal(t, "1", w.submit("--", "true"))
	require.Zero(t, w.run("job", "wait", "vision", "1").code)
	path := w.journalOf()
	w.killAgent(syscall.SIGTERM)
	was, err := os.ReadFile(path)
	require.NoError(t, err)
	newer := bytes.Clone(was)
	newer[63] = 99 // its version (sqlite.org/fileformat.html)
	require.NoError(t, os.WriteFile(path, newer, 0o600))
	r := w.run("run", "vision", "--", "true")
	require.NotZero(t, r.code)
	require.Contains(t, r.err, "a newer Berth wrote it")
	require.Equal(t, "x\n", w.ok("exec", "vision", "--", "echo", "x"))
	now, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(newer, now), "it was not touched")
	w.killAgent(syscall.SIGTERM)
	require.NoError(t, os.WriteFile(path, make([]byte, len(was)), 0o600))
	require.NotEqual(t, "1", w.submit("--", "true"))
	require.FileExists(t, path+".broken-1")
	eventually(t, "it is told", func() bool {
		told := false
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		c := w.client()
		defer c.Close()
		_ = c.Agent("vision").FollowEvents(ctx, func(e api.Event) error {
			if told = told || strings.Contains(e.Message, "it is kept as"); told {
				cancel()
			}
			return nil
		})
		return told
	})
}

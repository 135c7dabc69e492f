package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/base/paths"
)

// TestTenClientsStartOneDaemon lets ten clients find no daemon at once.
func TestTenClientsStartOneDaemon(t *testing.T) {
	w := newWorld(t)
	pids := make([]int, 10)
	var wg sync.WaitGroup
	for i := range pids {
		wg.Go(func() {
			var info api.Info
			if r := w.run("ls"); r.code != 0 {
				t.Errorf("client %d: %s", i, r.err)
			} else if err := json.Unmarshal([]byte(w.run("daemon", "status", "--json").out), &info); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
			pids[i] = info.PID
		})
	}
	wg.Wait()
	for _, p := range pids {
		require.Equal(t, pids[0], p)
	}
}

// TestTwoClientsMakeOneName asks for the same name from ten clients at once: one gets it.
func TestTwoClientsMakeOneName(t *testing.T) {
	w := newWorld(t)
	w.ok("ls")
	codes := make([]int, 10)
	var wg sync.WaitGroup
	for i := range codes {
		wg.Go(func() { codes[i] = w.run("create", "vision").code })
	}
	wg.Wait()
	won := 0
	for _, c := range codes {
		if c == 0 {
			won++
		} else {
			require.Equal(t, 1, c)
		}
	}
	require.Equal(t, 1, won)
	require.Len(t, w.ls(), 1)
}

// TestNewerClientReplacesOlderDaemon starts the daemon from an older copy of the program.
func TestNewerClientReplacesOlderDaemon(t *testing.T) {
	w := newWorld(t)
	exe, err := os.Executable()
	require.NoError(t, err)
	old := filepath.Join(t.TempDir(), "berth")
	b, err := os.ReadFile(exe)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(old, append(b, "older"...), 0o755)) // another content
	fi, err := os.Stat(exe)
	require.NoError(t, err)
	past := fi.ModTime().Add(-1e12)
	require.NoError(t, os.Chtimes(old, past, past))
	run := func(args ...string) {
		cmd := exec.Command(old, args...)
		cmd.Env = append(os.Environ(), "BERTH_HOME="+w.home)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	run("create", "vision")
	first := w.pid()
	require.NoError(t, err)
	w.ok("ls")
	second := w.pid()
	require.NotEqual(t, first, second, "the newer client asks the older daemon to make way")
	w.ok("exec", "vision", "--", "true")
	run("ls")
	require.Equal(t, second, w.pid(), "the older client does not take it back")
}

// TestChangesArePushed has two clients: what one does the other is told, without asking.
func TestChangesArePushed(t *testing.T) {
	w := newWorld(t)
	w.ok("ls")
	seen := make(chan api.Instance, 100)
	ready := make(chan struct{})
	go func() {
		_ = w.client().Watch(t.Context(), func(c api.Change) error { // ends with the test
			if c.Complete {
				close(ready)
			}
			if c.Instance != nil {
				seen <- *c.Instance
			}
			return nil
		})
	}()
	<-ready
	w.ok("create", "vision")
	var states []api.State
	for in := range seen {
		if len(states) == 0 || states[len(states)-1] != in.State {
			states = append(states, in.State)
		}
		if in.State == api.StateRunning {
			break
		}
	}
	require.Equal(t, api.StateCreating, states[0])
}

// TestCurl speaks the API with a program that knows nothing of Berth.
func TestCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	w := newWorld(t)
	socket := strings.TrimSpace(w.ok("api", "--socket"))
	do := func(method, path, body string) map[string]any {
		args := []string{"-sS", "--unix-socket", socket, "-X", method, "http://berth" + path}
		if body != "" {
			args = append(args, "-d", body)
		}
		out, err := exec.Command(curl, args...).Output()
		require.NoError(t, err)
		var v map[string]any
		require.NoError(t, json.Unmarshal(out, &v), string(out))
		return v
	}
	op := do("POST", "/v1/instances", `{"name":"vision"}`)
	require.Equal(t, "create", op["kind"])
	out, err := exec.Command(curl, "-sS", "--unix-socket", socket,
		"http://berth/v1/operations/"+op["id"].(string)+"?follow=true").Output()
	require.NoError(t, err)
	require.Contains(t, string(out), `"state":"succeeded"`)
	require.Equal(t, "running", do("GET", "/v1/instances/vision", "")["state"])
	bad := do("POST", "/v1/instances", `{"nam":"x"}`)
	require.Equal(t, "usage", bad["error"].(map[string]any)["code"])
	require.Equal(t, "not_found", do("GET", "/v1/nothing", "")["error"].(map[string]any)["code"])
	op = do("DELETE", "/v1/instances/vision", "")
	require.Equal(t, "delete", op["kind"])
	eventually(t, "it is gone", func() bool { return len(w.ls()) == 0 })

	// HTTP/2 without TLS works as well.
	tr := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, _, _ string) (net.Conn,
		error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	tr.Protocols.SetUnencryptedHTTP2(true)
	res, err := (&http.Client{Transport: tr}).Get("http://berth/v1/info")
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, 2, res.ProtoMajor)
}

// TestAnotherUserIsRefused tries the sockets as somebody else.
func TestAnotherUserIsRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to become another user")
	}
	w := newWorld(t)
	w.ok("create", "vision")
	h := w.at()
	fi, err := os.Stat(h.DaemonSocket())
	require.NoError(t, err)
	require.EqualValues(t, 0o600, fi.Mode().Perm())
	fi, err = os.Stat(filepath.Dir(h.Run))
	require.NoError(t, err)
	require.EqualValues(t, 0o700, fi.Mode().Perm())

	// Even with the folder and the socket open to all, the daemon asks who connects.
	for _, p := range []string{filepath.Dir(h.Run), h.Run} {
		require.NoError(t, os.Chmod(p, 0o755))
		defer os.Chmod(p, 0o700) //nolint:errcheck // the next Prepare closes it as well
	}
	require.NoError(t, os.Chmod(h.DaemonSocket(), 0o666))
	python, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	cmd := exec.Command(python, "-sS", "--unix-socket", h.DaemonSocket(), "http://berth/v1/instances")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	require.Error(t, err, string(out))
	require.NotContains(t, string(out), "vision")
	log, err := os.ReadFile(h.Log())
	require.NoError(t, err)
	require.Contains(t, string(log), "refused a connection of another user")

	// A folder for sockets that somebody else made first is not used.
	other := &world{t: t, home: filepath.Join(t.TempDir(), "h")}
	oh := other.at()
	require.NoError(t, os.MkdirAll(oh.Run, 0o777))
	require.NoError(t, os.Chown(oh.Run, 65534, 65534))
	defer os.Remove(oh.Run)
	r := other.run("ls")
	require.NotZero(t, r.code)
	require.Contains(t, r.err, "somebody else made it")
}

// TestRootIsWhoseDaemonItIs has root ask the daemon of an ordinary user: what it asks for is asked for by that user,
// who may do with it what they like.
func TestRootIsWhoseDaemonItIs(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to become another user")
	}
	const nobody = 65534
	exe, err := os.Executable()
	require.NoError(t, err)
	b, err := os.ReadFile(exe)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	require.NoError(t, os.Chown(dir, nobody, nobody))
	w := newWorld(t)
	w.exe, w.home, w.user = filepath.Join(dir, "berth"), filepath.Join(dir, "home"), dir
	require.NoError(t, os.WriteFile(w.exe, b, 0o755))
	theirs := func(args ...string) string {
		cmd := w.cmd(t.Context(), args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	theirs("create", "vision")
	defer theirs("daemon", "stop")
	defer theirs("rm", "-y", "vision")
	socket := strings.Replace(w.at().DaemonSocket(), "berth-0/", "berth-65534/", 1)
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	res, err := c.Post("http://berth/v1/instances/vision/restart", "application/json", strings.NewReader("{}"))
	require.NoError(t, err)
	defer res.Body.Close()
	var op api.Operation
	require.NoError(t, json.NewDecoder(res.Body).Decode(&op))
	require.Equal(t, "local:65534", op.Principal)
	require.Equal(t, "nobody", op.Actor)
}

// TestStoreThatCannotBeUsed covers stores that are newer, corrupted, on a full disk or read-only.
func TestStoreThatCannotBeUsed(t *testing.T) {
	w := newWorld(t)
	w.ok("create", "vision")
	w.ok("daemon", "stop")
	db := w.at().Store()
	good, err := os.ReadFile(db)
	require.NoError(t, err)

	newer := append([]byte(nil), good...)
	copy(newer[60:64], []byte{0, 0, 3, 231}) // user_version in SQLite's header, big-endian
	require.NoError(t, os.WriteFile(db, newer, 0o600))
	r := w.run("ls")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "version 999")
	now, err := os.ReadFile(db)
	require.NoError(t, err)
	require.Equal(t, newer, now, "untouched")

	require.NoError(t, os.WriteFile(db, []byte(strings.Repeat("not a database ", 1000)), 0o600))
	r = w.run("ls")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, ".broken")
	r = w.run("doctor")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.out, "fail")

	// As it says: move it away, and what the backends still have comes back by itself.
	require.NoError(t, os.Rename(db, db+".broken"))
	require.Equal(t, api.StateRunning, w.show("vision").State)
	w.ok("exec", "vision", "--", "true")
}

// TestLongHomePath shows that the length of the home's path does not matter to its sockets.
func TestLongHomePath(t *testing.T) {
	w := newWorld(t)
	w.home = filepath.Join(w.home, strings.Repeat("a-long-folder-name/", 12), "home")
	w.ok("create", "vision")
	require.Equal(t, "hello\n", w.ok("exec", "vision", "--", "echo", "hello"))
}

// TestIdleDaemonEnds lets a daemon that nobody asks end by itself.
func TestIdleDaemonEnds(t *testing.T) {
	w := newWorld(t)
	w.env = []string{"BERTH_DAEMON_IDLE=200ms"}
	w.ok("ls")
	socket := w.at().DaemonSocket()
	eventually(t, "the daemon has ended", func() bool {
		_, err := os.Stat(socket)
		return os.IsNotExist(err)
	})
	b, err := os.ReadFile(w.at().Log())
	require.NoError(t, err)
	require.Contains(t, string(b), "ending: idle")
}

// TestAChangedConfigurationCounts at the next call, and interrupts nobody for that.
func TestAChangedConfigurationCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	first := w.pid()
	file := strings.TrimSpace(w.ok("config", "path"))
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
	write := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }

	write("[ui]\ntheme = \"dark\"\n")
	w.ok("ls")
	require.Equal(t, first, w.pid(), "the daemon has nothing to do with the dashboard's colours")
	write("[limits]\ncall = \"3m\"\n")
	w.ok("ls")
	second := w.pid()
	require.NotEqual(t, first, second)
	w.ok("ls")
	require.Equal(t, second, w.pid())

	started := filepath.Join(t.TempDir(), "started")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := w.cmd(ctx, "exec", "vision", "--", "sh", "-c", "touch "+started+"; read line; echo got $line")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	var out bytes.Buffer
	cmd.Stdout = &out
	require.NoError(t, cmd.Start())
	eventually(t, "the command runs", func() bool { return paths.Exists(started) })
	write("[limits]\ncall = \"4m\"\n")
	r := w.run("ls")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.err, "the configuration has changed, and does not count yet")
	require.Equal(t, second, w.pid())
	_, err = in.Write([]byte("it\n"))
	require.NoError(t, err)
	require.NoError(t, cmd.Wait())
	require.Equal(t, "got it\n", out.String())
	eventually(t, "it counts once nobody uses the daemon", func() bool {
		w.ok("ls")
		return w.pid() != second
	})
}

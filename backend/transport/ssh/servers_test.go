package ssh

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/shellquote"
	"berth/backend/transport/ssh/sshdtest"
)

// everything runs what must work on any server with an agent: commands through it, and plain ones.
func everything(t *testing.T, s *sshdtest.Server, transport string) {
	t.Helper()
	w := newWorld(t, itself).reach(s)
	ctx := w.ctx(nil)
	c := w.conn(ctx, "box")
	client := agentClient(t, c)
	r := run(t, ctx, client, "sh", "-c", "echo $0; echo oops >&2; exit 3")
	require.NoError(t, r.err)
	require.Equal(t, result{status: r.status, out: "sh\n", err2: "oops\n"}, r)
	require.Equal(t, 3, r.status.Code)
	_, state := c.Info()
	require.Equal(t, AgentState{State: "ready", Transport: transport}, state)
	var wg sync.WaitGroup
	for range 12 { // more than MaxSessions
		wg.Go(func() { require.Equal(t, "x", run(t, ctx, client, "printf", "x").out) })
	}
	wg.Wait()
}

func TestServersOfAllKinds(t *testing.T) {
	t.Parallel()
	wrapper := filepath.Join(t.TempDir(), "wrapper")
	require.NoError(t, os.WriteFile(wrapper,
		[]byte("#!/bin/sh\necho Welcome\necho to the site >&2\neval \"$SSH_ORIGINAL_COMMAND\"\n"), 0o755))
	for name, c := range map[string]struct {
		o         sshdtest.Options
		transport string
	}{
		"no sftp":               {sshdtest.Options{NoSFTP: true}, "streamlocal"},
		"one session at a time": {sshdtest.Options{MaxSessions: 1}, "streamlocal"},
		"one session, no sftp":  {sshdtest.Options{MaxSessions: 1, NoSFTP: true}, "streamlocal"},
		"sftp that fails": {sshdtest.Options{NoSFTP: true, Lines: []string{"Subsystem sftp /bin/false"}},
			"streamlocal"},
		"sftp in another root": {sshdtest.Options{NoSFTP: true, Lines: []string{"Subsystem sftp internal-sftp -R"}},
			"streamlocal"},
		"no sockets":                  {sshdtest.Options{NoStreamLocal: true}, "dial"},
		"no forwarding":               {sshdtest.Options{NoForwarding: true}, "dial"},
		"no forwarding, one session":  {sshdtest.Options{NoForwarding: true, MaxSessions: 1, NoSFTP: true}, "dial"},
		"a home with a long name":     {sshdtest.Options{Home: longHome(t)}, "streamlocal"},
		"a banner before signing in":  {sshdtest.Options{Banner: "No trespassing\x1b[2J\n"}, "streamlocal"},
		"a command that wraps others": {sshdtest.Options{ForceCommand: wrapper, NoSFTP: true, NoForwarding: true}, "dial"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everything(t, sshdtest.Start(t, c.o), c.transport)
		})
	}
}

// longHome is a folder whose name is longer than a socket's may be.
func longHome(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Repeat("a-long-name/", 20))
	require.NoError(t, os.MkdirAll(dir, 0o755))
	return dir
}

func TestMoreCommandsThanSessions(t *testing.T) {
	t.Parallel()
	s, _, ctx, c := box(t, sshdtest.Options{MaxSessions: 1})
	in := newInput2()
	held := stream(t, func(s *api.Stream) { c.ServeExec(ctx, s, api.ExecRequest{Argv: []string{"cat"}}) })
	out := &screen{}
	go func() { _, _ = held.Run(ctx, api.StreamIO{Stdin: in, Stdout: out, Stderr: out}) }()
	in.say("here")
	out.wait(t, "here")
	for range 3 {
		require.Equal(t, "too\n", plain(t, ctx, c, api.ExecRequest{Argv: []string{"echo", "too"}}, "").out)
	}
	eventually(t, "the further connections end", func() bool { return s.Connections() == 1 })
}

func TestHandshakesAreLimited(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	port, _ := sshdtest.Relay(t, s.Addr(), 200*time.Millisecond)
	w := newWorld(t, func(o *Options) { o.Handshakes = 2 })
	most := 0
	w.m.o.OnState = nil
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				most = max(most, len(w.m.hands))
			}
		}
	}()
	// Different targets, by the user's name.
	w.hosts(stanzaFor(s, w, "box", port, "StrictHostKeyChecking accept-new"))
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			_, err := w.m.Conn(w.ctx(nil), strconv.Itoa(i), backend.SSHTarget{Host: "box", User: "nobody" + strconv.Itoa(i)})
			require.Error(t, err)
		})
	}
	wg.Wait()
	close(stop)
	<-done
	require.Equal(t, 2, most)
}

func TestForcedCommand(t *testing.T) {
	t.Parallel()
	_, _, ctx, c := box(t, sshdtest.Options{ForceCommand: "echo only this"}, itself)
	_, err := c.Agent(ctx)
	var u *backend.AgentUnavailable
	require.ErrorAs(t, err, &u)
	require.Contains(t, u.Reason, "only this")
	r := plain(t, ctx, c, api.ExecRequest{Argv: []string{"true"}}, "")
	require.Equal(t, "only this\n", r.out, "what the server runs is passed on")
}

// Login shells of users of their own, with start-up files that print and take their time.
func TestLoginShells(t *testing.T) {
	t.Parallel()
	noise := "echo a noisy start; echo and more >&2\n"
	for shell, rc := range map[string]map[string]string{
		"/bin/dash":     {".profile": noise},
		"/bin/bash":     {".bashrc": noise + "sleep 0.3\n", ".bash_profile": noise},
		"/usr/bin/zsh":  {".zshenv": noise, ".zshrc": noise},
		"/usr/bin/fish": {".config/fish/config.fish": noise},
		"/bin/tcsh":     {".tcshrc": "echo a noisy start\n"},
		"/bin/csh":      {".cshrc": "echo a noisy start\n"},
	} {
		t.Run(filepath.Base(shell), func(t *testing.T) {
			t.Parallel()
			if _, err := os.Stat(shell); err != nil {
				if strings.HasSuffix(shell, "csh") {
					return // not every distribution has it; its quoting is the strictest and tested below
				}
				t.Skipf("this test needs %s: install it", shell)
			}
			name, home := sshdtest.NewUser(t, shell)
			for file, text := range rc {
				p := filepath.Join(home, file)
				require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
				require.NoError(t, os.WriteFile(p, []byte(text), 0o644))
			}
			out, err := exec.Command("chown", "-R", name+":", home).CombinedOutput()
			require.NoError(t, err, string(out))
			s := sshdtest.Start(t, sshdtest.Options{User: name, Home: home})
			everything(t, s, "streamlocal")

			w := newWorld(t).reach(s)
			ctx := w.ctx(nil)
			odd := "a'b \\ \\\\ \\' \" $HOME `id` !x ! * ~ #\n\t\x01 é \xff %s %b \\0101"
			r := plain(t, ctx, w.conn(ctx, "box"), api.ExecRequest{Argv: []string{"printf", "%s", odd},
				Env: []string{"A=" + odd}, Dir: "/"}, "")
			require.NoError(t, r.err)
			require.Equal(t, odd, r.out)
			r = plain(t, ctx, w.conn(ctx, "box"), api.ExecRequest{Argv: []string{"sh", "-c", `printf %s "$A"`},
				Env: []string{"A=" + odd}}, "")
			require.Equal(t, odd, r.out)
		})
	}
}

// mount puts a file system on a folder until the test ends.
func mount(t *testing.T, dir, options string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a file system for this test needs root")
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "berth-test", dir).CombinedOutput(); err != nil {
		t.Skipf("this machine does not let tests mount file systems: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %s", out)
		}
	})
}

func TestHomesWhereNoProgramCanBe(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]string{"noexec": "mode=755,noexec", "read-only": "mode=755,ro"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.Chmod(dir, 0o755))
			mount(t, dir, options)
			_, w, ctx, c := box(t, sshdtest.Options{Home: dir}, itself)
			t.Cleanup(func() { require.NoError(t, c.RemoveAgent(w.ctx(nil))) })
			client := agentClient(t, c)
			require.Equal(t, "x", run(t, ctx, client, "printf", "x").out)
			p, _ := c.agent.known()
			require.True(t, strings.HasPrefix(p.Program, "/var/tmp/berth-"), p.Program)
		})
	}
}

// Two hosts that share a home: the program is copied once.
func TestSharedHome(t *testing.T) {
	t.Parallel()
	one := sshdtest.Start(t, sshdtest.Options{})
	two := sshdtest.Start(t, sshdtest.Options{Home: one.Home})
	w := newWorld(t, itself).trust(one, two)
	w.hosts(one.Stanza("one", w.known), two.Stanza("two", w.known))
	ctx := w.ctx(nil)
	c1, c2 := w.conn(ctx, "one"), w.conn(ctx, "two")
	client := agentClient(t, c1)
	_, err := client.Info(ctx)
	require.NoError(t, err)
	p, _ := c1.agent.known()
	first, err := os.Stat(p.Program)
	require.NoError(t, err)
	info, err := c2.EnsureAgent(ctx)
	require.NoError(t, err)
	require.NotEmpty(t, info.Socket)
	again, err := os.Stat(p.Program)
	require.NoError(t, err)
	require.True(t, os.SameFile(first, again))
	left, err := filepath.Glob(filepath.Join(one.Home, "state", "berth", "bin", ".*"))
	require.NoError(t, err)
	require.Empty(t, left, "no temporary file stays")
}

func TestUnknownSystem(t *testing.T) {
	t.Parallel()
	// A uname of a system that Go knows nothing of, by a PATH in front.
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "uname"), []byte("#!/bin/sh\necho Plan9\n"), 0o755))
	s := sshdtest.Start(t, sshdtest.Options{Lines: []string{"PermitUserEnvironment yes"}})
	require.NoError(t, os.WriteFile(filepath.Join(s.Home, ".bashrc"), []byte("PATH="+bin+":$PATH\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(s.Home, ".profile"), []byte("PATH="+bin+":$PATH\n"), 0o644))
	w := newWorld(t, itself).trust(s)
	w.hosts(s.Stanza("box", w.known, "SetEnv PATH="+bin))
	ctx := w.ctx(nil)
	c := w.conn(ctx, "box")
	out, err := c.script(ctx, "uname")
	require.NoError(t, err)
	if !strings.Contains(out, "Plan9") {
		t.Skip("the login shell of this user reads no start-up file for commands")
	}
	_, err = c.Agent(ctx)
	var u *backend.AgentUnavailable
	require.ErrorAs(t, err, &u)
	require.Contains(t, u.Reason, "Plan9")
}

func FuzzParseLook(f *testing.F) {
	f.Add("os Linux\narch x86_64\nno /a: b\ndir /var/tmp\n")
	f.Fuzz(func(t *testing.T, out string) {
		l := parseLook(out)
		if l.dir != "" && l.dir[0] != '/' {
			t.Fatalf("%+v", l)
		}
		if strings.ContainsAny(l.system, "\x1b\n") {
			t.Fatalf("%q", l.system)
		}
	})
}

// TestUnifiedMemoryOfAnotherMachine is what a machine says whose GPU shares its memory.
func TestUnifiedMemoryOfAnotherMachine(t *testing.T) {
	x := parseFacts("memkb 1024\ngpu [N/A], NVIDIA GB10\ngpu WARNING: infoROM is corrupted at gpu 0000000F:01:00.0\n" +
		"gpu 81559, NVIDIA H100\ngpu [Unknown Error], NVIDIA A100\n")
	require.Equal(t, []api.GPU{{Name: "NVIDIA GB10", MemoryBytes: 1 << 20, Unified: true},
		{Name: "NVIDIA H100", MemoryBytes: 81559 << 20}, {Name: "NVIDIA A100"}}, x.GPUs)
}

func FuzzParseFacts(f *testing.F) {
	f.Add("os Linux\narch aarch64\ncpus 8\nmemkb 1024\ndiskkb 5\ngpu 81559, NVIDIA H100\nshare yes\n")
	f.Fuzz(func(t *testing.T, out string) {
		x := parseFacts(out)
		if x.VCPUs < 0 || x.MemoryBytes < 0 || x.DiskBytes < 0 {
			t.Fatalf("%+v", x)
		}
		for _, g := range x.GPUs {
			if g.MemoryBytes < 0 || strings.ContainsRune(g.Name, 0x1b) {
				t.Fatalf("%+v", g)
			}
		}
	})
}

// Whatever the words are, a shell makes the same words of what was quoted.
func FuzzShellLine(f *testing.F) {
	for _, s := range []string{"plain", "a'b", "!x", "\\", "\n", "$(id)", "é\xff", "-n", "%s"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.ContainsRune(a+b, 0) || len(a)+len(b) > 10000 {
			return
		}
		line := shellLine("printf '%s\\n%s.' " + shellquote.Line(a, b))
		inner := strings.TrimSuffix(strings.TrimPrefix(line, "exec sh -c '"), "'")
		if strings.ContainsAny(inner, "'!\n") {
			t.Fatalf("not fit for every shell: %q", line)
		}
		out, err := exec.CommandContext(context.Background(), "sh", "-c", line).Output()
		if err != nil || string(out) != a+"\n"+b+"." {
			t.Fatalf("%q: %q %v", line, out, err)
		}
	})
}

package exec

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/server/servertest"
	"berth/backend/api"
	"berth/backend/transport/wire"
)

func TestExecPassesArgumentsStreamsAndStatus(t *testing.T) {
	o := agenttest.Options(t)
	_, c := serve(t, o)
	r, err := servertest.Execute(t, c, api.ExecRequest{Argv: []string{"printf", "%s|", "a b", "$HOME", "", "*"}}, "")
	require.NoError(t, err)
	require.Equal(t, "a b|$HOME||*|", r.Stdout)

	r, err = servertest.Execute(t, c, servertest.Sh("cat; echo err >&2; exit 7"), "typed\n")
	require.NoError(t, err)
	require.Equal(t, servertest.Ran{ExitStatus: wire.ExitStatus{Code: 7}, Stdout: "typed\n", Stderr: "err\n"}, r)

	r, err = servertest.Execute(t, c, servertest.Sh("kill -TERM $$"), "")
	require.NoError(t, err)
	require.Equal(t, wire.ExitStatus{Code: 143, Signal: "TERM"}, r.ExitStatus)

	r, err = servertest.Execute(t, c,
		servertest.Sh(`pwd; echo $HOME $BERTH_INSTANCE $BERTH_INSTANCE_ID "$BERTH_SCRATCH" "${BERTH_SHARE-none}"`), "")
	require.NoError(t, err)
	require.Equal(t, o.Home+"\n"+o.Home+" t "+o.InstanceID+" "+o.Scratch+" none\n", r.Stdout)
}

func TestExecEnvironmentIsTheLoginShells(t *testing.T) {
	o := agenttest.Options(t)
	require.NoError(t, os.WriteFile(filepath.Join(o.Home, ".bash_profile"),
		[]byte("echo welcome to this machine\nexport FROM_PROFILE='x y'\nPATH=$HOME/bin:$PATH\n"), 0o600))
	bin := filepath.Join(o.Home, "bin")
	require.NoError(t, os.Mkdir(bin, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(bin, "mine"), []byte("#!/bin/sh\necho found $FROM_PROFILE $MORE\n"),
		0o700))
	t.Setenv("VIRTUAL_ENV", "/of/whoever/started/it")
	_, c := serve(t, o)
	r, err := servertest.Execute(t, c,
		api.ExecRequest{Argv: []string{"mine"}, Env: []string{"MORE=of the call", "no variable", "=x"}}, "")
	require.NoError(t, err)
	require.Equal(t, "found x y of the call\n", r.Stdout)
	r, err = servertest.Execute(t, c, servertest.Sh("echo $VIRTUAL_ENV"), "")
	require.NoError(t, err)
	require.Equal(t, "\n", r.Stdout)
}

func TestExecThatCannotStartSaysWhy(t *testing.T) {
	_, c := serve(t, agenttest.Options(t))
	for _, tc := range []struct {
		req  api.ExecRequest
		want string
	}{
		{api.ExecRequest{}, "no command"},
		{api.ExecRequest{Argv: []string{"true"}, Dir: "/no/such"}, "/no/such"},
	} {
		_, err := servertest.Execute(t, c, tc.req, "")
		require.ErrorContains(t, err, tc.want)
	}
}

// TestExecHasTheStatusOfAShell for what a shell could not run either.
func TestExecHasTheStatusOfAShell(t *testing.T) {
	o := agenttest.Options(t)
	_, c := serve(t, o)
	bin := filepath.Join(o.Home, "bin")
	require.NoError(t, os.Mkdir(bin, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(bin, "data"), []byte("x"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(bin, "garbage"), []byte("\x7fELF\x00"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(bin, "orphan"), []byte("#!/no/such/interpreter\n"), 0o700))
	require.NoError(t, os.Symlink("loop", filepath.Join(bin, "loop")))
	path := "PATH=" + bin
	long := strings.Repeat("x", 3<<20) // no system takes an argument of this length
	for _, tc := range []struct {
		argv   []string
		status int
		want   string
	}{
		{[]string{"no-such-program"}, 127, "PATH is " + bin},
		{[]string{"/no/such/program"}, 127, "no /no/such/program"},
		{[]string{"bin/data/below"}, 127, "bin/data/below"},
		{[]string{"bin/data"}, 126, "permission denied"},
		{[]string{"data"}, 126, "it is " + bin + "/data"},
		{[]string{"/"}, 126, "a folder"},
		{[]string{"bin/garbage"}, 126, "exec format error"},
		{[]string{"orphan"}, 126, "first line"},
		{[]string{"bin/loop"}, 126, "symbolic links"},
		{[]string{"/bin/sh", long}, 126, "longer than the system"},
	} {
		for _, tty := range []bool{false, true} {
			r, err := servertest.Execute(t, c, api.ExecRequest{Argv: tc.argv, Env: []string{path}, TTY: tty}, "")
			require.NoError(t, err)
			require.Equal(t, wire.ExitStatus{Code: tc.status}, r.ExitStatus, "%.60q", tc.argv)
			said, other, end := r.Stderr, r.Stdout, "\n"
			if tty {
				said, other, end = r.Stdout, r.Stderr, "\r\n"
			}
			require.Contains(t, said, tc.want)
			require.True(t, strings.HasSuffix(said, end))
			require.NotContains(t, said, "berth:", "it is no failure of Berth's")
			require.Empty(t, other)
		}
	}
}

// TestExecTakesAllThatASystemTakes sends arguments, variables and a folder of any bytes, and very many of them.
func TestExecTakesAllThatASystemTakes(t *testing.T) {
	o := agenttest.Options(t)
	_, c := serve(t, o)
	every := make([]byte, 255)
	for i := range every {
		every[i] = byte(i + 1)
	}
	dir := filepath.Join(o.Home, "\xff\xfe dir")
	require.NoError(t, os.Mkdir(dir, 0o700))
	r, err := servertest.Execute(t, c, api.ExecRequest{Argv: []string{"sh", "-c", `printf '%s|' "$1" "$V"; pwd`, "sh",
		string(every)}, Dir: dir, Env: []string{"V=\x80v"}}, "")
	require.NoError(t, err)
	require.Equal(t, string(every)+"|\x80v|"+dir+"\n", r.Stdout)

	argv := []string{"sh", "-c", `printf %s "$@" | wc -c`, "sh"}
	for range 15 {
		argv = append(argv, strings.Repeat("\x01", 100_000)) // JSON would write each as six bytes
	}
	r, err = servertest.Execute(t, c, api.ExecRequest{Argv: argv}, "")
	require.NoError(t, err)
	require.Equal(t, wire.ExitStatus{}, r.ExitStatus, r.Stderr)
	require.Equal(t, "1500000", strings.TrimSpace(r.Stdout))
}

func TestExecHangUpEndsTheCommand(t *testing.T) {
	a, c := serve(t, agenttest.Options(t))
	s, err := c.OpenExec(t.Context(), servertest.Sh("echo ready; sleep 1000"))
	require.NoError(t, err)
	for {
		k, _, err := s.Reader.Next()
		require.NoError(t, err)
		if k == wire.Stdout {
			break
		}
	}
	require.EqualValues(t, 1, a.running.Load())
	require.NoError(t, s.Close())
	agenttest.Eventually(t, "the command to end", func() bool { return a.running.Load() == 0 })
}

func TestExecSignalsReachAProcessThatDoesNotRead(t *testing.T) {
	_, c := serve(t, agenttest.Options(t))
	s, err := c.OpenExec(t.Context(),
		// No program in the loop: with one, dash now and then dies of the signal instead of running its trap.
		servertest.Sh("trap 'echo got; exit 3' INT; echo ready; while :; do :; done"))
	require.NoError(t, err)
	pr, pw := io.Pipe()
	defer pw.Close()
	go func() { // more than pipe and window hold
		_, _ = io.Copy(pw, io.LimitReader(zeros{}, 8<<20))
	}()
	sigs := make(chan string, 1)
	var out notify
	out.on = func() { sigs <- "INT" }
	x, err := s.Run(t.Context(), api.StreamIO{Stdin: pr, Stdout: &out, Stderr: io.Discard, Signals: sigs})
	require.NoError(t, err)
	require.Equal(t, 3, x.Code)
	require.Contains(t, out.String(), "got")
}

func TestExecStreamsAllBytesBothWays(t *testing.T) {
	_, c := serve(t, agenttest.Options(t))
	in := strings.Repeat("0123456789abcdef", 1<<18) // 4 MiB
	r, err := servertest.Execute(t, c, api.ExecRequest{Argv: []string{"cat"}}, in)
	require.NoError(t, err)
	require.True(t, in == r.Stdout, "%d bytes of %d came back", len(r.Stdout), len(in))
}

func TestExecOnATerminal(t *testing.T) {
	_, c := serve(t, agenttest.Options(t))
	req := servertest.Sh("stty size; tty >/dev/null && echo $TERM; read x; echo got $x >&2")
	req.TTY, req.Rows, req.Cols, req.Term = true, 11, 77, "vt100"
	r, err := servertest.Execute(t, c, req, "typed\n")
	require.NoError(t, err)
	require.Contains(t, r.Stdout, "11 77\r\n")
	require.Contains(t, r.Stdout, "vt100\r\n")
	require.Contains(t, r.Stdout, "got typed")
	require.Empty(t, r.Stderr)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// notify calls on at its first write.
type notify struct {
	bytes.Buffer
	on func()
}

func (n *notify) Write(p []byte) (int, error) {
	if n.on != nil {
		n.on()
		n.on = nil
	}
	return n.Buffer.Write(p)
}

func BenchmarkExecTrue(b *testing.B) {
	_, c := serve(b, agenttest.Options(b))
	for b.Loop() {
		if _, err := servertest.Execute(b, c, api.ExecRequest{Argv: []string{"/bin/true"}}, ""); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExecStdout(b *testing.B) {
	_, c := serve(b, agenttest.Options(b))
	const size = 1 << 30
	b.SetBytes(size)
	for b.Loop() {
		s, err := c.OpenExec(b.Context(), api.ExecRequest{Argv: []string{"head", "-c", strconv.Itoa(size), "/dev/zero"}})
		require.NoError(b, err)
		var n counter
		_, err = s.Run(b.Context(), api.StreamIO{Stdout: &n, Stderr: io.Discard})
		require.NoError(b, err)
		require.EqualValues(b, size, n)
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

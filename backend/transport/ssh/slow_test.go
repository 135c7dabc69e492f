package ssh

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
)

// TestASlowLineIsNoDeadOne reads over a line on which the answer to a keepalive stands behind seconds of output.
func TestASlowLineIsNoDeadOne(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	s.Port = sshdtest.Slow(t, s.Addr(), 400_000).Port
	w := newWorld(t, func(o *Options) { o.Silence = time.Second }).reach(s)
	ctx := w.ctx(nil)
	c := w.conn(ctx, "box")
	st := stream(t, func(st *api.Stream) {
		c.ServeExec(ctx, st, api.ExecRequest{Argv: []string{"head", "-c", "1500000", "/dev/zero"}})
	})
	var out bytes.Buffer
	x, err := st.Run(ctx, api.StreamIO{Stdout: &out, Stderr: io.Discard})
	require.NoError(t, err)
	require.Zero(t, x.Code)
	require.Equal(t, 1500000, out.Len())
}

// TestSessionsHaveTheirOwnVariables starts many at once. Before, they wrote into one slice: the race detector sees
// it, and so does a session that gets another one's variable.
func TestSessionsHaveTheirOwnVariables(t *testing.T) {
	sshdtest.NeedTerminals(t)
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{Lines: []string{"AcceptEnv *"}})
	w := newWorld(t).trust(s)
	w.hosts(s.Stanza("box", w.known, "SetEnv ONE=1", "SetEnv TWO=2", "SetEnv THREE=3"))
	ctx := w.ctx(nil)
	c := w.conn(ctx, "box")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			st := stream(t, func(st *api.Stream) {
				c.ServeTerminal(ctx, st, api.TerminalRequest{Env: []string{fmt.Sprint("MINE=", i)}, Dir: "/",
					Argv: []string{"env"}})
			})
			var out bytes.Buffer
			_, err := st.Run(ctx, api.StreamIO{Stdout: &out, Stderr: io.Discard})
			if err != nil || !strings.Contains(out.String(), fmt.Sprint("MINE=", i, "\r\n")) {
				t.Errorf("session %d: %v: %s", i, err, out.String())
			}
		})
	}
	all.Wait()
}

// scriptAsSSH is a connection by the user's own ssh, which is a shell script.
func scriptAsSSH(t *testing.T, script string) (context.Context, *Conn) {
	t.Helper()
	ssh := filepath.Join(t.TempDir(), "ssh")
	require.NoError(t, os.WriteFile(ssh, []byte("#!/bin/sh\n"+script), 0o700))
	w := newWorld(t)
	w.hosts("Host box\n    HostName 127.0.0.1\n")
	ctx := w.ctx(nil, "PATH="+filepath.Dir(ssh)+":/usr/bin:/bin")
	c, err := w.m.Conn(ctx, "i-box", openSSHTarget("box"))
	require.NoError(t, err)
	return ctx, c
}

// TestOpenSSHSessionsHaveTheirOwnVariables is the same for the user's own ssh, which here prints its environment.
func TestOpenSSHSessionsHaveTheirOwnVariables(t *testing.T) {
	t.Parallel()
	ctx, c := scriptAsSSH(t, "env\n")
	o := c.tr.(*openssh)
	o.env = append(make([]string, 0, 100), o.env...) // with room, as it may have
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			p, err := o.start(ctx, "env", sessionOptions{Env: []string{fmt.Sprint("MINE=", i)}})
			if err != nil {
				t.Error(err)
				return
			}
			defer p.close()
			b, err := io.ReadAll(p.stdout)
			if err != nil || !strings.Contains(string(b), fmt.Sprint("MINE=", i, "\n")) {
				t.Errorf("session %d: %v: %s", i, err, b)
			}
		})
	}
	all.Wait()
}

// TestStderrIsReadToItsEnd has the user's own ssh, which here runs the command itself, end while much of its stderr is
// still to be passed on.
func TestStderrIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	ctx, c := scriptAsSSH(t, "for last; do :; done\nexec sh -c \"$last\"\n")
	// How much the buffers on the way hold is the kernel's: with one of these sizes some is left in ssh's pipe.
	for size := 100_000; size < 500_000; size += 30_000 {
		s := stream(t, func(s *api.Stream) {
			c.ServeExec(ctx, s, api.ExecRequest{Argv: []string{"sh", "-c", fmt.Sprintf("head -c %d /dev/zero >&2", size)}})
		})
		time.Sleep(100 * time.Millisecond) // nobody reads
		var out bytes.Buffer
		x, err := s.Run(ctx, api.StreamIO{Stdout: io.Discard, Stderr: &out})
		require.NoError(t, err)
		require.Zero(t, x.Code)
		require.Equal(t, size, out.Len())
	}
}

package ssh

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	gossh "golang.org/x/crypto/ssh"

	"berth/backend"
	"berth/backend/transport/ssh/sshdtest"
)

// A program that somebody removed does not mean that nothing is left.
func TestRemoveAgentWhoseProgramIsGone(t *testing.T) {
	t.Parallel()
	s, _, ctx, c := box(t, sshdtest.Options{}, itself)
	info, err := c.EnsureAgent(ctx)
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(filepath.Join(s.Home, "state", "berth", "bin")))
	require.NoError(t, c.RemoveAgent(ctx))
	eventually(t, "the agent ends", func() bool { return syscall.Kill(info.PID, 0) != nil })
	require.NoDirExists(t, filepath.Join(s.Home, "state", "berth"))

	// With nothing left at all, there is nothing to do.
	info, err = c.EnsureAgent(ctx)
	require.NoError(t, err)
	p, _ := c.agent.known()
	require.NoError(t, syscall.Kill(info.PID, syscall.SIGKILL))
	require.NoError(t, os.RemoveAll(filepath.Join(s.Home, "state", "berth")))
	require.NoError(t, os.Remove(p.Socket))
	require.NoError(t, c.RemoveAgent(ctx))
	require.NoDirExists(t, filepath.Join(s.Home, "state", "berth"))
}

// Where the program can't come back, the agent is ended over its socket, and what stays is said.
func TestRemoveAgentSaysWhatIsLeft(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	gone := false
	w := newWorld(t, itself, func(o *Options) {
		binary := o.AgentBinary
		o.AgentBinary = func(ctx context.Context, goos, goarch string) (string, error) {
			if gone {
				return "", errors.New("there is no agent in this build")
			}
			return binary(ctx, goos, goarch)
		}
	}).reach(s)
	ctx := w.ctx(nil)
	c := w.conn(ctx, "box")
	info, err := c.EnsureAgent(ctx)
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(filepath.Join(s.Home, "state", "berth", "bin")))
	gone = true
	err = c.RemoveAgent(ctx)
	require.ErrorContains(t, err, "no agent in this build")
	var left *backend.Left
	require.ErrorAs(t, err, &left)
	require.Equal(t, info.StateDir, left.Path)
	require.Contains(t, left.Host, "127.0.0.1")
	require.Contains(t, left.Command, "agent uninstall --end --socket="+info.Socket)
	eventually(t, "the agent ends", func() bool { return syscall.Kill(info.PID, 0) != nil })
}

// Two homes of one user share the program, not the agent: one that goes leaves it to the other.
func TestRemoveAgentLeavesASharedProgram(t *testing.T) {
	t.Parallel()
	one := sshdtest.Start(t, sshdtest.Options{})
	two := sshdtest.Start(t, sshdtest.Options{Home: one.Home, Lines: []string{
		"SetEnv BERTH_HOME=" + filepath.Join(t.TempDir(), "own") + " HOME=" + one.Home + " XDG_STATE_HOME=" +
			filepath.Join(one.Home, "state")}})
	w := newWorld(t, itself).trust(one, two)
	w.hosts(one.Stanza("one", w.known), two.Stanza("two", w.known))
	ctx := w.ctx(nil)
	c1, c2 := w.conn(ctx, "one"), w.conn(ctx, "two")
	first, err := c1.EnsureAgent(ctx)
	require.NoError(t, err)
	client := agentClient(t, c2)
	second, err := client.Info(ctx)
	require.NoError(t, err)
	require.NotEqual(t, first.PID, second.PID)
	p1, _ := c1.agent.known()
	p2, _ := c2.agent.known()
	require.Equal(t, p1.Program, p2.Program)

	require.NoError(t, c1.RemoveAgent(ctx))
	require.FileExists(t, p2.Program)
	_, err = net.Dial("unix", p1.Socket)
	require.Error(t, err)
	require.Equal(t, "x", run(t, ctx, client, "printf", "x").out)
	require.NoError(t, c2.RemoveAgent(ctx))
	require.NoFileExists(t, p2.Program)
}

// Two homes of one user that have to turn to the same folder outside: each has an agent of its own.
func TestTwoHomesOutsideThemselves(t *testing.T) {
	t.Parallel()
	base := "/var/tmp/berth-" + strconv.Itoa(os.Getuid())
	pids := map[int]bool{}
	for range 2 {
		dir := t.TempDir()
		require.NoError(t, os.Chmod(dir, 0o755))
		mount(t, dir, "mode=755,ro")
		_, w, ctx, c := box(t, sshdtest.Options{Home: dir}, itself)
		client := agentClient(t, c)
		info, err := client.Info(ctx)
		require.NoError(t, err)
		require.Equal(t, dir, info.Home)
		pids[info.PID] = true
		p, _ := c.agent.known()
		require.Contains(t, p.Program, base+"/home-")
		t.Cleanup(func() { require.NoDirExists(t, filepath.Dir(p.State)) })
		t.Cleanup(func() { require.NoError(t, c.RemoveAgent(w.ctx(nil))) })
	}
	require.Len(t, pids, 2)
}

// Where the server allows one session and no forwarding, that one is the way to the agent: it makes room for the
// removal, and who was on it does not put the agent there again.
func TestRemoveAgentThroughTheOneSession(t *testing.T) {
	t.Parallel()
	s, w, ctx, c := box(t, sshdtest.Options{MaxSessions: 1, NoStreamLocal: true}, itself)
	info, err := c.EnsureAgent(ctx)
	require.NoError(t, err)
	held, err := c.Agent(ctx)
	require.NoError(t, err)
	defer held.Close()
	var followers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 { // as those who draw figures do
		followers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if conn, err := w.m.Conn(ctx, "i-box", backend.SSHTarget{Host: "box"}); err == nil {
					if a, err := conn.Agent(ctx); err == nil {
						_ = a.Close()
					}
				}
			}
		})
	}
	_, err = w.m.Remove(ctx, "i-box", backend.SSHTarget{Host: "box"}, "")
	require.NoError(t, err)
	eventually(t, "the agent ends", func() bool { return syscall.Kill(info.PID, 0) != nil })
	close(stop)
	followers.Wait()
	entries, err := os.ReadDir(s.Home)
	require.NoError(t, err)
	require.Empty(t, entries, "folders that were made for it go, too")

	// The same machine, taken in again, has an agent again.
	again, err := w.m.Conn(ctx, "i-again", backend.SSHTarget{Host: "box"})
	require.NoError(t, err)
	held, err = again.Agent(ctx)
	require.NoError(t, err)
	require.NoError(t, held.Close())
	_, err = w.m.Remove(ctx, "i-again", backend.SSHTarget{Host: "box"}, "")
	require.NoError(t, err)
}

// A host that can't be reached keeps what is on it, and that is an error which names host, folder and command. So it
// is where nothing is known of what was put there.
func TestRemoveFromAHostThatIsAway(t *testing.T) {
	t.Parallel()
	s, w, ctx, c := box(t, sshdtest.Options{}, itself)
	info, err := c.EnsureAgent(ctx)
	require.NoError(t, err)
	p, _ := c.agent.known()
	box := backend.SSHTarget{Host: "box"}
	w.m.Drop("i-box")
	s.Kill()
	_, err = w.m.Remove(ctx, "i-box", box, "")
	var left *backend.Left
	require.ErrorAs(t, err, &left)
	require.ErrorIs(t, err, backend.ErrUnreachable)
	require.Equal(t, info.StateDir, left.Path)
	require.Equal(t, p.command("uninstall --end --socket="+p.Socket+" --state="+p.State+" --scratch="+
		filepath.Join(filepath.Dir(p.State), "scratch")), left.Command)

	// It comes back by another way, of which nothing is remembered: it is looked for there.
	s.Restart()
	w.hosts(s.Stanza("box", w.known, "HostKeyAlias "+"127.0.0.1:"+strconv.Itoa(s.Port)))
	w.trust(s)
	f, err := os.OpenFile(w.known, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString("127.0.0.1:" + strconv.Itoa(s.Port) + " " +
		string(gossh.MarshalAuthorizedKey(s.HostKey.Public)))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	ctx = w.ctx(nil)
	_, err = w.m.Remove(ctx, "i-box", box, "0123456789abcdef")
	require.NoError(t, err, "it is looked for")
	require.NoError(t, syscall.Kill(info.PID, 0), "but is another's")
	_, err = w.m.Remove(ctx, "i-box", box, "")
	require.NoError(t, err)
	eventually(t, "the agent ends", func() bool { return syscall.Kill(info.PID, 0) != nil })
	entries, err := os.ReadDir(s.Home)
	require.NoError(t, err)
	require.Empty(t, entries)
}

// A home that another host shares: its agent runs from the program that this one leaves.
func TestRemoveAgentLeavesAnotherHostsProgram(t *testing.T) {
	t.Parallel()
	for name, mark := range map[string]bool{"a build that says so beside the program": true,
		"a build that says so in its records alone": false} {
		t.Run(name, func(t *testing.T) {
			_, _, ctx, c := box(t, sshdtest.Options{}, itself)
			info, err := c.EnsureAgent(ctx)
			require.NoError(t, err)
			p, _ := c.agent.known()
			theirs := filepath.Join(filepath.Dir(filepath.Dir(info.StateDir)), "0123456789ab", "agent")
			require.NoError(t, os.MkdirAll(theirs, 0o700))
			marks, err := filepath.Glob(filepath.Join(filepath.Dir(p.Program), "used-*"))
			require.NoError(t, err)
			require.Len(t, marks, 1)
			other := filepath.Join(filepath.Dir(p.Program), "used-0123456789ab-00000000")
			if mark {
				require.NoError(t, os.WriteFile(other, nil, 0o600))
			} else { // an older build put both there
				require.NoError(t, os.Remove(marks[0]))
				record, err := os.ReadFile(filepath.Join(info.StateDir, "agent.json"))
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join(theirs, "agent.json"), record, 0o600))
			}
			require.NoError(t, c.RemoveAgent(ctx))
			require.NoDirExists(t, info.StateDir)
			require.FileExists(t, p.Program)
			// The last one takes it along.
			_ = os.Remove(other)
			require.NoError(t, os.RemoveAll(theirs))
			_, err = c.EnsureAgent(ctx)
			require.NoError(t, err)
			require.NoError(t, c.RemoveAgent(ctx))
			require.NoFileExists(t, p.Program)
		})
	}
}

package agent

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/process"
	"berth/backend/agent/server"
	"berth/backend/agent/server/servertest"
	"berth/backend/api"
	"berth/backend/transport/wire"
)

// newer makes a copy of this program that is a newer build: other bytes, a later time.
func newer(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	b, err := os.ReadFile(exe)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "berth")
	require.NoError(t, os.WriteFile(path, append(b, "newer"...), 0o700))
	at := time.Now().Add(time.Hour)
	require.NoError(t, os.Chtimes(path, at, at))
	return path
}

func startBy(t *testing.T, exe string, o Options) (api.AgentInfo, error) {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(exe, append([]string{"agent", "start", "--replace"}, o.Args()...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	t.Log(stderr.String())
	var info api.AgentInfo
	if err == nil {
		require.NoError(t, json.Unmarshal(out, &info))
		require.Equal(t, 1, bytes.Count(out, []byte("\n")), "one line")
	}
	return info, err
}

func TestAgentKilledWithTerminalsOpen(t *testing.T) {
	o := testOptions(t)
	info, c := startDetached(t, o)
	p := servertest.Attach(t, c, api.TerminalRequest{New: true})
	p.Types("echo be''fore\n")
	p.Sees("before")
	require.NoError(t, syscall.Kill(info.PID, syscall.SIGKILL))
	<-p.Done

	again, _ := startDetached(t, o)
	require.NotEqual(t, info.PID, again.PID)
	require.Equal(t, 1, again.Terminals)
	q := servertest.Attach(t, c, api.TerminalRequest{})
	require.Equal(t, p.ID, q.ID)
	require.Equal(t, p.PID, q.PID)
	q.Sees("before")
	q.Types("echo af''ter\n")
	q.Sees("after")
	n := servertest.Attach(t, c, api.TerminalRequest{New: true})
	require.NotEqual(t, q.ID, n.ID, "a number is never used again")
}

func TestUpgradeInPlace(t *testing.T) {
	o := testOptions(t)
	info, c := startDetached(t, o)
	p := servertest.Attach(t, c, api.TerminalRequest{New: true})
	p.Types("echo be''fore\n")
	p.Sees("before")
	s, err := c.OpenExec(t.Context(), sh("read x; echo got $x"))
	require.NoError(t, err)
	k, _, err := s.Reader.Next()
	require.NoError(t, err)
	require.Equal(t, wire.Started, k)

	bin := newer(t)
	up, err := startBy(t, bin, o)
	require.NoError(t, err)
	require.NotEqual(t, info.PID, up.PID)
	require.NotEqual(t, info.Hash, up.Hash)
	require.Equal(t, 1, up.Terminals)

	// What was under way goes on: the exec by the old agent, and the terminal's line too.
	var out bytes.Buffer
	x, err := s.Run(t.Context(), api.StreamIO{Stdin: strings.NewReader("it\n"), Stdout: &out, Stderr: io.Discard})
	require.NoError(t, err)
	require.Equal(t, 0, x.Code)
	require.Equal(t, "got it\n", out.String())
	p.Types("echo af''ter\n")
	p.Sees("after")
	p.Leave()
	eventually(t, "the old agent to leave", func() bool { _, err := process.Identify(info.PID); return err != nil })
	eventually(t, "the terminal to be free", func() bool {
		l, err := c.Terminals(t.Context())
		return err == nil && len(l) == 1 && l[0].Attached == 0
	})
	q := servertest.Attach(t, c, api.TerminalRequest{})
	require.Equal(t, p.PID, q.PID)
	q.Sees("after")

	// The same program, written again later, is not newer.
	exe2 := filepath.Join(t.TempDir(), "berth")
	b, err := os.ReadFile(bin)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(exe2, b, 0o700))
	at := time.Now().Add(2 * time.Hour)
	require.NoError(t, os.Chtimes(exe2, at, at))
	again, err := startBy(t, exe2, o)
	require.NoError(t, err)
	require.Equal(t, up.PID, again.PID)

	// And never back.
	exe, err := os.Executable()
	require.NoError(t, err)
	same, err := startBy(t, exe, o)
	require.NoError(t, err)
	require.Equal(t, up.PID, same.PID)
	_, err = server.New(t.Context(), server.Config{Options: o, Parts: parts, Takeover: true, Log: servertest.Quiet})
	require.ErrorContains(t, err, "newer one only")
}

func TestAnUpgradeThatCannotRunHarmsNothing(t *testing.T) {
	o := testOptions(t)
	info, c := startDetached(t, o)
	bad := newer(t)
	o2 := o
	o2.Scratch = filepath.Join(o.Home, "scratch2")
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(o.State), "file"), nil, 0o600))
	o2.Share = filepath.Join(filepath.Dir(o.State), "file") // refused by run: the new agent ends at once
	_, err := startBy(t, bad, o2)
	require.Error(t, err)
	now, err := c.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, info.PID, now.PID)
}

func TestSocketsRemovedByACleanerAreMadeAgain(t *testing.T) {
	o := testOptions(t)
	info, c := startDetached(t, o)
	p := servertest.Attach(t, c, api.TerminalRequest{})
	require.NoError(t, os.RemoveAll(filepath.Dir(o.Socket)))
	again, err := Start(t.Context(), o, false)
	require.NoError(t, err)
	require.Equal(t, info.PID, again.PID)
	q := servertest.Attach(t, c, api.TerminalRequest{ID: p.ID})
	q.Types("echo he''re\n")
	q.Sees("here")
}

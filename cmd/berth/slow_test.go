//go:build e2e

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"berth/backend/transport/ssh/sshdtest"
)

// TestExecOverASlowLine reads what a command wrote over a line, or at a reader, that takes much longer than the
// command: every byte arrives, also with forwarding off and over the user's own ssh. All wait at the same time.
func TestExecOverASlowLine(t *testing.T) {
	holds := []struct {
		name  string
		rate  int // bytes a second of the line
		pause time.Duration
		away  time.Duration
	}{
		{name: "a reader that pauses", pause: 13 * time.Second},
		{name: "a line of 120 KB/s", rate: 120_000},
		{name: "a network that is away", away: 9 * time.Second}, // limits.silence is 15 s
	}
	ways := []struct {
		name   string
		server sshdtest.Options
		adopt  []string
	}{
		{name: "streamlocal"},
		{name: "dial", server: sshdtest.Options{NoForwarding: true}},
		{name: "openssh", adopt: []string{"--transport", "openssh"}},
	}
	var all errgroup.Group
	for _, way := range ways {
		for _, hold := range holds {
			s := sshdtest.Start(t, way.server)
			line := sshdtest.Slow(t, s.Addr(), hold.rate)
			s.Port = line.Port
			w := newWorld(t)
			known := filepath.Join(t.TempDir(), "known_hosts")
			require.NoError(t, os.WriteFile(known, []byte(s.KnownHosts()), 0o600))
			w.env = []string{"BERTH_SSH_CONFIG=" + sshdtest.Config(t, s.Stanza("gpu1", known))}
			all.Go(func() error {
				adopt := w.cmd(t.Context(), append([]string{"adopt", "gpu1", "gpu1"}, way.adopt...)...)
				if out, err := adopt.CombinedOutput(); err != nil {
					return fmt.Errorf("%s, %s: adopt: %w: %s", way.name, hold.name, err, out)
				}
				away := func() {
					if hold.away > 0 {
						defer line.Away()()
						time.Sleep(hold.away)
					}
					time.Sleep(hold.pause)
				}
				if err := readLate(w.cmd(t.Context(), "exec", "gpu1", "--", "head", "-c", "3000000", "/dev/zero"),
					away); err != nil {
					return fmt.Errorf("%s, %s: %w", way.name, hold.name, err)
				}
				return nil
			})
		}
	}
	require.NoError(t, all.Wait())
}

// readLate runs a command that writes 3,000,000 bytes; all but the first are read after wait.
func readLate(cmd *exec.Cmd, wait func()) error {
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	n, err := io.ReadFull(out, make([]byte, 1))
	if err == nil {
		wait()
	}
	rest, cerr := io.Copy(io.Discard, out)
	if err := errors.Join(err, cerr, cmd.Wait()); err != nil || int64(n)+rest != 3000000 {
		return fmt.Errorf("%d bytes came: %w: %s", int64(n)+rest, err, said.String())
	}
	return nil
}

// TestExecSaysOnATerminalWhatHoldsIt runs exec on a terminal; ctrl-C stops the waiting.
func TestExecSaysOnATerminalWhatHoldsIt(t *testing.T) {
	w := newWorld(t)
	w.ok("create", "box")
	cmd := w.cmd(t.Context(), "exec", "box", "--", "sh", "-c", "sleep 1000 & echo begun")
	tty, err := pty.Start(cmd)
	require.NoError(t, err)
	defer tty.Close()
	var said strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(said.String(), "ctrl-C") {
		n, err := tty.Read(buf)
		require.NoError(t, err, said.String())
		said.Write(buf[:n])
	}
	require.Regexp(t, `begun\r\nberth: the command has ended, but its output is held open by sleep 1000 \(process \d+\); ctrl-C`, said.String())
	_, err = tty.Write([]byte{3})
	require.NoError(t, err)
	_ = cmd.Wait()
	require.Equal(t, 130, cmd.ProcessState.ExitCode())
}

// TestExecInterruptedWhileNobodyReads interrupts an exec whose output waits for a reader that does not read, also where
// that begins only after the signal.
func TestExecInterruptedWhileNobodyReads(t *testing.T) {
	w := newWorld(t)
	w.ok("create", "box")
	for _, script := range []string{"exec head -c 3000000 /dev/zero",
		"trap '' INT; echo begun; sleep 0.3; exec head -c 3000000 /dev/zero"} {
		cmd := w.cmd(t.Context(), "exec", "box", "--", "sh", "-c", script)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		_, err = io.ReadFull(out, make([]byte, 1))
		require.NoError(t, err)
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		st, err := cmd.Process.Wait() // cmd.Wait would close the pipe
		require.NoError(t, err)
		require.Equal(t, 130, st.ExitCode(), script)
	}
}

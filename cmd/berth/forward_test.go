package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/transport/ssh/sshdtest"
)

// forwarding is a `berth forward` under way.
type forwarding struct {
	t   *testing.T
	cmd *exec.Cmd
	out *bufio.Reader
	err *lockedText
}

// lockedText is what a program has said so far.
type lockedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (w *world) forward(args ...string) *forwarding {
	w.t.Helper()
	f := &forwarding{t: w.t, cmd: w.cmd(context.Background(), append([]string{"forward"}, args...)...), err: &lockedText{}}
	f.cmd.Stderr = f.err
	out, err := f.cmd.StdoutPipe()
	require.NoError(w.t, err)
	f.out = bufio.NewReader(out)
	require.NoError(w.t, f.cmd.Start())
	w.t.Cleanup(func() { f.end(syscall.SIGKILL) })
	return f
}

// end sends a signal and returns the exit code; a signal that ended it is 128 and its number.
func (f *forwarding) end(s syscall.Signal) int {
	_ = f.cmd.Process.Signal(s)
	_ = f.cmd.Wait()
	if ws, ok := f.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 1000 + int(ws.Signal()) // it did not end by itself
	}
	return f.cmd.ProcessState.ExitCode()
}

// line reads a line, and returns the address that begins it.
func (f *forwarding) line() (address, all string) {
	f.t.Helper()
	s, err := f.out.ReadString('\n')
	require.NoError(f.t, err, f.err.String())
	s = strings.TrimSuffix(s, "\n")
	address, _, _ = strings.Cut(s, " ")
	return address, s
}

// listens gives each connection to serve, and returns the port.
func listens(t *testing.T, serve func(*net.TCPConn)) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c.(*net.TCPConn))
			}()
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

func says(text string) func(*net.TCPConn) {
	return func(c *net.TCPConn) { _, _ = io.WriteString(c, text) }
}

// heard is all that a connection gives.
func heard(network, address string) (string, error) {
	c, err := net.Dial(network, address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	b, err := io.ReadAll(c)
	return string(b), err
}

// TestForward is the everyday road on a local instance: ports and sockets, one that is taken, the instance's own
// network, nothing that listens, and the ends.
func TestForward(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	port := listens(t, says("hello"))
	taken := listens(t, says("not this"))
	sock := filepath.Join(t.TempDir(), "s")
	u, err := net.Listen("unix", sock)
	require.NoError(t, err)
	defer u.Close()
	go func() {
		for {
			c, err := u.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "by socket")
			_ = c.Close()
		}
	}()
	free := sshdtest.FreePort(t)
	nothing := sshdtest.FreePort(t)
	f := w.forward("vision", fmt.Sprintf("%d:%d", free, port), fmt.Sprintf("%d:%d", taken, port), sock,
		strconv.Itoa(port), fmt.Sprintf("0:%d", nothing))
	_, line := f.line()
	require.Equal(t, fmt.Sprintf("127.0.0.1:%d -> vision:%d", free, port), line)
	got, err := heard("tcp", fmt.Sprintf("127.0.0.1:%d", free))
	require.NoError(t, err)
	require.Equal(t, "hello", got)

	other, _ := f.line()
	require.NotContains(t, other, fmt.Sprint(taken))
	got, err = heard("tcp", other)
	require.NoError(t, err)
	require.Equal(t, "hello", got)
	require.Contains(t, f.err.String(), fmt.Sprintf("port %d of this computer is held by ", taken))
	require.Contains(t, f.err.String(), fmt.Sprintf("(process %d): %s is used", os.Getpid(), other))

	at, line := f.line()
	require.Equal(t, at+" -> vision:"+sock, line)
	got, err = heard("tcp", at)
	require.NoError(t, err)
	require.Equal(t, "by socket", got)

	at, _ = f.line()
	got, err = heard("tcp", at)
	require.NoError(t, err)
	require.Equal(t, "hello", got)
	require.Contains(t, f.err.String(), "vision shares the network of this computer")

	at, _ = f.line()
	require.Contains(t, f.err.String(), fmt.Sprintf("nothing listens on port %d of vision yet", nothing))
	_, err = heard("tcp", at)
	require.Error(t, err)
	says := fmt.Sprintf("a connection to vision:%d failed: nothing listens on port %d of the instance", nothing, nothing)
	eventually(t, "it to be said", func() bool { return strings.Contains(f.err.String(), says) })
	require.Equal(t, 130, f.end(syscall.SIGINT), f.err.String())

	// What ends a client ends it.
	for sig, code := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGHUP: 129} {
		f = w.forward("vision", fmt.Sprintf("0:%d", port), "--json")
		var doc map[string]string
		_, line = f.line()
		require.NoError(t, json.Unmarshal([]byte(line), &doc), line)
		require.Equal(t, map[string]string{"local": doc["local"], "remote": fmt.Sprint(port), "instance": "vision",
			"url": "http://" + doc["local"]}, doc)
		require.Equal(t, code, f.end(sig))
		_, err = heard("tcp", doc["local"])
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	}

	// It outlives the daemon, and a stop of the instance.
	f = w.forward("vision", fmt.Sprintf("0:%d", port))
	at, _ = f.line()
	w.ok("daemon", "stop")
	got, err = heard("tcp", at)
	require.NoError(t, err)
	require.Equal(t, "hello", got)
	w.ok("stop", "vision")
	_, err = heard("tcp", at)
	require.Error(t, err)
	eventually(t, "it to be said", func() bool { return strings.Contains(f.err.String(), "failed: vision is stopped") })
	w.ok("start", "vision")
	got, err = heard("tcp", at)
	require.NoError(t, err)
	require.Equal(t, "hello", got)
	f.end(syscall.SIGINT)

	// As exec says it.
	w.ok("stop", "vision")
	r := w.run("forward", "vision", "80")
	require.Equal(t, 6, r.code)
	require.Equal(t, "berth: vision is stopped\nberth: berth start vision\n", r.err)
	require.Equal(t, 3, w.run("forward", "nobody", "80").code)
	require.Equal(t, 2, w.run("forward", "vision", "80:localhost:80").code)
}

// TestForwardOnABastion: a socket of the user's own instead of a port that all users of the host could reach.
func TestForwardOnABastion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	port := listens(t, says("hello"))
	w.env = []string{"SSH_CONNECTION=10.0.0.2 50000 10.0.0.7 22", "USER=ada"}
	f := w.forward("vision", strconv.Itoa(port))
	at, line := f.line()
	require.Equal(t, fmt.Sprintf("%s -> vision:%d", at, port), line)
	_, line = f.line()
	require.Equal(t, fmt.Sprintf("  on the computer that you came from: ssh -L %d:%s -N ada@10.0.0.7", port, at), line)
	fi, err := os.Stat(at)
	require.NoError(t, err)
	require.Equal(t, os.ModeSocket|0o600, fi.Mode())
	fi, err = os.Stat(filepath.Dir(at))
	require.NoError(t, err)
	require.Equal(t, os.ModeDir|0o700, fi.Mode())
	got, err := heard("unix", at)
	require.NoError(t, err)
	require.Equal(t, "hello", got)
	require.Equal(t, 130, f.end(syscall.SIGINT))
	require.NoFileExists(t, at)
	f = w.forward("--tcp", "vision", "0:"+strconv.Itoa(port))
	at, _ = f.line()
	require.True(t, strings.HasPrefix(at, "127.0.0.1:"), at)
}

const forwardMuch = 64 << 20

// pours writes much, made of a seed, and returns its sum.
func pours(w io.Writer, seed byte) [32]byte {
	h := sha256.New()
	_, _ = io.CopyN(io.MultiWriter(w, h), rand.NewChaCha8([32]byte{seed}), forwardMuch)
	return [32]byte(h.Sum(nil))
}

func sumOf(r io.Reader) [32]byte {
	h := sha256.New()
	_, _ = io.Copy(h, r)
	return [32]byte(h.Sum(nil))
}

// TestForwardOverSSH goes over real sshds, also those that forward nothing: 64 MiB each way at once, each direction
// with an end of its own, 200 connections at once, and a cut of the line.
func TestForwardOverSSH(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]sshdtest.Options{
		"plain":           {},
		"no tcp":          {Lines: []string{"AllowTcpForwarding no"}},
		"nothing at all":  {NoForwarding: true},
		"one session":     {NoForwarding: true, MaxSessions: 1},
		"no stream local": {NoStreamLocal: true},
	} {
		t.Run(name, func(t *testing.T) {
			w, s := remoteWorld(t, o)
			w.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
			echo := listens(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
			there := make(chan [32]byte, 2)
			big := listens(t, func(c *net.TCPConn) {
				sent := make(chan [32]byte, 1)
				go func() {
					sum := pours(c, 1)
					_ = c.CloseWrite()
					sent <- sum
				}()
				sum := sumOf(c)
				there <- <-sent
				there <- sum
			})
			f := w.forward("gpu1", fmt.Sprintf("0:%d", big), fmt.Sprintf("0:%d", echo))
			bigAt, _ := f.line()
			echoAt, _ := f.line()

			c, err := net.Dial("tcp", bigAt)
			require.NoError(t, err)
			defer c.Close()
			sent := make(chan [32]byte, 1)
			go func() {
				sum := pours(c, 2)
				_ = c.(*net.TCPConn).CloseWrite()
				sent <- sum
			}()
			got := sumOf(c)
			require.Equal(t, <-there, got, f.err.String())
			require.Equal(t, <-sent, <-there)

			errs := make(chan error, 200)
			for i := range 200 {
				go func() {
					errs <- func() error {
						c, err := net.Dial("tcp", echoAt)
						if err != nil {
							return err
						}
						defer c.Close()
						_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
						want := strings.Repeat(strconv.Itoa(i)+" ", 5000)
						go func() {
							_, _ = io.WriteString(c, want)
							_ = c.(*net.TCPConn).CloseWrite()
						}()
						b, err := io.ReadAll(c)
						if err == nil && string(b) != want {
							err = fmt.Errorf("%d bytes came back of %d", len(b), len(want))
						}
						return err
					}()
				}()
			}
			for range 200 {
				require.NoError(t, <-errs, f.err.String())
			}
			if name != "plain" && name != "nothing at all" {
				return
			}
			c, err = net.Dial("tcp", echoAt)
			require.NoError(t, err)
			defer c.Close()
			_, _ = io.WriteString(c, "x")
			_, err = io.ReadFull(c, make([]byte, 1))
			require.NoError(t, err)
			s.Kill()
			_, err = io.ReadAll(c)
			require.ErrorIs(t, err, syscall.ECONNRESET, "what is cut off looks whole")
			eventually(t, "it to be said", func() bool { return strings.Contains(f.err.String(), "failed: ") })
			s.Restart()
			eventually(t, "the same port to lead there again", func() bool {
				c, err := net.Dial("tcp", echoAt)
				require.NoError(t, err)
				defer c.Close()
				_ = c.(*net.TCPConn).CloseWrite()
				_, err = io.ReadAll(c)
				return err == nil
			})
			require.Equal(t, 130, f.end(syscall.SIGINT))
		})
	}
}

// TestForwardWithoutAnAgent goes over plain SSH, and says nothing of what it can't know.
func TestForwardWithoutAnAgent(t *testing.T) {
	t.Parallel()
	w, s := remoteWorld(t, sshdtest.Options{ForceCommand: "echo only this"})
	w.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
	require.Equal(t, "unavailable", w.show("gpu1").Agent.State)
	port := listens(t, says("hello"))
	f := w.forward("gpu1", fmt.Sprintf("0:%d", port))
	at, _ := f.line()
	got, err := heard("tcp", at)
	require.NoError(t, err, f.err.String())
	require.Equal(t, "hello", got)
	require.Equal(t, 130, f.end(syscall.SIGINT))
	require.Empty(t, f.err.String())
}

// TestForwardOverALineThatIsSilent: a machine that hangs says no end of a connection. What was open is reset when the
// line is given up, and the same port leads there again when it speaks.
func TestForwardOverALineThatIsSilent(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	w := newWorld(t)
	w.reach(s)
	w.env = append(w.env, "BERTH_LIMITS_SILENCE=5s")
	w.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
	echo := listens(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	f := w.forward("gpu1", fmt.Sprintf("0:%d", echo))
	at, _ := f.line()
	c, err := net.Dial("tcp", at)
	require.NoError(t, err)
	defer c.Close()
	_, _ = io.WriteString(c, "x")
	_, err = io.ReadFull(c, make([]byte, 1))
	require.NoError(t, err)
	thaw := s.Freeze()
	_, err = io.ReadAll(c)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	eventually(t, "it to be said", func() bool { return strings.Contains(f.err.String(), "failed: ") })
	thaw()
	eventually(t, "the same port to lead there again", func() bool {
		c, err := net.Dial("tcp", at)
		require.NoError(t, err)
		defer c.Close()
		_, _ = io.WriteString(c, "again")
		_ = c.(*net.TCPConn).CloseWrite()
		b, err := io.ReadAll(c)
		return err == nil && string(b) == "again"
	})
	require.Equal(t, 130, f.end(syscall.SIGINT))
}

package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/base/flock"
	"berth/backend/base/paths"
	"berth/backend/base/version"
	"berth/backend/service/daemon/connect"
	"berth/backend/transport/dial"
)

// TestMain makes the test binary play the daemon of a home without backends: "play-daemon HOME".
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "play-daemon" {
		os.Exit(playDaemon(os.Args[2]))
	}
	os.Exit(m.Run())
}

func playDaemon(home string) int {
	h, err := paths.At(home)
	if err != nil {
		return 2
	}
	ready := os.NewFile(3, "ready")
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	err = Serve(context.Background(), Config{Home: h, Idle: time.Minute, Log: log,
		NewDialer: func(state func(string, bool, *api.AgentStatus)) Dialer {
			return dial.New(dial.Options{Home: h, Log: log, State: state})
		},
		Ready: func() { _, _ = io.WriteString(ready, "ok"); _ = ready.Close() },
	})
	if err != nil {
		_ = json.NewEncoder(ready).Encode(api.ErrorDocument{Error: api.AsError(err)})
		return 1
	}
	return 0
}

// connector returns a connector of an empty home whose daemons end with the test.
func connector(t *testing.T) *connect.Connector {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	h, err := paths.At(home)
	require.NoError(t, err)
	require.NoError(t, h.Prepare())
	t.Cleanup(func() {
		_, err := (&connect.Connector{Home: h}).Stop(context.Background())
		require.NoError(t, err)
	})
	return &connect.Connector{Home: h, Program: func() (string, error) { return h.Program("berth") },
		Args: []string{"play-daemon", home}, Limit: 10 * time.Second}
}

// within bounds what hung once, so that it fails.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// dialled connects and returns the process id of the daemon that answers.
func dialled(t *testing.T, c *connect.Connector) int {
	t.Helper()
	client := &api.WorkspaceClient{Dial: c.Dial}
	defer client.Close()
	info, err := client.Daemon().Info(within(t))
	require.NoError(t, err)
	return info.PID
}

// older serves as an older daemon of a home does: it says so in its note and answers what end it. It is of the
// capability given; 1 knows no hand-over.
type older struct {
	h     paths.Home
	l     *net.UnixListener
	busy  bool
	asked chan string // what it was asked to do
}

// olderPID is a process id that no process has.
const olderPID = 1 << 22

func serveOlder(t *testing.T, h paths.Home, capability int, then func(*older)) *older {
	t.Helper()
	l, err := listen(h)
	require.NoError(t, err)
	o := &older{h: h, l: l, asked: make(chan string, 8)}
	end := func(what string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			o.asked <- what + r.URL.RawQuery
			if o.busy {
				api.WriteError(w, api.Errorf(api.CodeConflict, "the daemon is in use"))
				return
			}
			w.WriteHeader(http.StatusNoContent)
			time.AfterFunc(20*time.Millisecond, func() { then(o) })
		}
	}
	routes := []api.Route{{Method: "POST", Path: "/v1/daemon/stop", Handler: end("stop ")},
		{Method: "GET", Path: "/v1/info", Handler: func(w http.ResponseWriter, _ *http.Request) {
			api.WriteJSON(w, http.StatusOK, api.Info{PID: olderPID})
		}}}
	if capability > 1 {
		routes = append(routes, api.Route{Method: "POST", Path: "/v1/daemon/handover", Handler: end("handover ")})
	}
	srv := &http.Server{Handler: api.Mux(routes, nil)}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	b, err := json.Marshal(connect.Note{Version: version.Version{Number: "0.0.1"}, Capability: capability, PID: olderPID})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(connect.NotePath(h), b, 0o600))
	return o
}

// TestOlderDaemonThatWasKilledHoldsNobodyUp kills an older daemon while it makes way: its socket's file stays, and was
// waited for without end.
func TestOlderDaemonThatWasKilledHoldsNobodyUp(t *testing.T) {
	c := connector(t)
	o := serveOlder(t, c.Home, 2, func(o *older) { _ = o.l.Close() })
	require.NotEqual(t, olderPID, dialled(t, c))
	require.Equal(t, "handover ", <-o.asked)
}

// TestAnotherClientThatIsFasterHoldsNobodyUp has the next daemon's socket stand where the older one's stood before a
// client looks: it saw a socket each time that it looked, and waited without end.
func TestAnotherClientThatIsFasterHoldsNobodyUp(t *testing.T) {
	c := connector(t)
	next := make(chan int, 1)
	serveOlder(t, c.Home, 2, func(o *older) {
		// One moment between the two: the socket is replaced, as by a rename.
		_ = o.l.Close()
		_ = os.Remove(connect.NotePath(o.h))
		next <- dialled(t, &connect.Connector{Home: c.Home, Program: c.Program, Args: c.Args})
	})
	require.Equal(t, dialled(t, c), <-next)
}

// TestDaemonThatDoesNotEndIsSaid has an older daemon agree to end, and stay.
func TestDaemonThatDoesNotEndIsSaid(t *testing.T) {
	c := connector(t)
	c.Limit = 3 * time.Second // for its answer, too
	serveOlder(t, c.Home, 2, func(*older) {})
	_, err := c.Dial(within(t))
	require.ErrorIs(t, err, &api.Error{Code: api.CodeUnreachable})
	require.ErrorContains(t, err, "does not end")
	require.NoError(t, os.Remove(c.Home.DaemonSocket())) // for the test's end
}

// TestOlderDaemonInUseServesOn meets a daemon that can't hand over: it is replaced when it is idle only, and the user
// is told once why it is used.
func TestOlderDaemonInUseServesOn(t *testing.T) {
	c := connector(t)
	var told []string
	shown := false
	warn := func(s string) bool { told = append(told, s); return shown }
	o := serveOlder(t, c.Home, 1, func(o *older) { _ = o.l.Close() })
	o.busy = true
	for range 3 { // three calls: the first where nothing can be shown
		require.Equal(t, olderPID, dialled(t, &connect.Connector{Home: c.Home, Program: c.Program, Args: c.Args, Warn: warn}))
		require.Equal(t, "stop idle=true", <-o.asked)
		shown = true
	}
	require.Len(t, told, 2, "what was shown is not said again")
	require.Contains(t, told[1], "0.0.1")
	require.Contains(t, told[1], "berth daemon stop")
	o.busy = false
	next := &connect.Connector{Home: c.Home, Program: c.Program, Args: c.Args, Warn: warn}
	require.NotEqual(t, olderPID, dialled(t, next))
	require.Len(t, told, 2)
}

// TestStoppedClientHoldsNobodyUp holds the lock of a client that starts the daemon, as one does that was stopped with
// ctrl-Z: another starts the daemon nevertheless.
func TestStoppedClientHoldsNobodyUp(t *testing.T) {
	c := connector(t)
	c.Limit = time.Second
	f, err := os.OpenFile(c.Home.StartLock(), os.O_CREATE|os.O_RDWR, 0o600)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, flock.Wait(t.Context(), f, nil))
	ctx := within(t)
	for { // the limit is that of the daemon's start, too, which may take longer
		conn, err := c.Dial(ctx)
		require.NoError(t, ctx.Err(), "the lock is waited for")
		if err == nil {
			_ = conn.Close()
			return
		}
	}
}

// TestLeftNoteOfADrainingDaemonIsRemoved finds the note of a daemon that was killed after it had handed over.
func TestLeftNoteOfADrainingDaemonIsRemoved(t *testing.T) {
	c := connector(t)
	require.NoError(t, c.Home.PrepareRun())
	left := filepath.Join(c.Home.Run, "draining-1.json")
	require.NoError(t, os.WriteFile(left, []byte(`{"pid":4194304}`), 0o600))
	require.Empty(t, connect.FindDraining(c.Home))
	require.NoFileExists(t, left)
}

// TestFrozenDaemonIsSaid stops a daemon as ctrl-Z does: what asks it to end is told, and does not wait without end.
func TestFrozenDaemonIsSaid(t *testing.T) {
	c := connector(t)
	pid := dialled(t, c)
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	defer func() { require.NoError(t, syscall.Kill(pid, syscall.SIGCONT)) }()
	require.Eventually(t, func() bool { // on a busy computer it goes on for a moment
		state, err := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(pid)).Output()
		require.NoError(t, err)
		return strings.HasPrefix(strings.TrimSpace(string(state)), "T")
	}, 10*time.Second, 5*time.Millisecond)
	c.Limit = 100 * time.Millisecond
	_, err := c.Stop(within(t))
	require.ErrorIs(t, err, &api.Error{Code: api.CodeUnreachable})
	require.Contains(t, api.AsError(err).Hint, fmt.Sprint("kill -9 ", pid))
	other := &connect.Connector{Home: c.Home, Program: c.Program, Args: c.Args, Limit: c.Limit,
		Service: "another configuration"}
	_, err = other.Dial(within(t))
	require.ErrorIs(t, err, &api.Error{Code: api.CodeUnreachable})
}

// TestARemovedSocketIsMadeAgain removes the socket of a daemon that serves, as cleaners of /tmp do.
func TestARemovedSocketIsMadeAgain(t *testing.T) {
	for name, remove := range map[string]func(h paths.Home) error{
		"the socket":  func(h paths.Home) error { return os.Remove(h.DaemonSocket()) },
		"its folder":  func(h paths.Home) error { return os.RemoveAll(filepath.Dir(h.DaemonSocket())) },
		"it is there": func(paths.Home) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			c := connector(t)
			pid := dialled(t, c)
			require.NoError(t, remove(c.Home))
			require.Equal(t, pid, dialled(t, &connect.Connector{Home: c.Home, Program: c.Program, Args: c.Args, Limit: c.Limit}))
			_, err := os.Stat(connect.NotePath(c.Home))
			require.NoError(t, err)
		})
	}
}

package attach

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/transport/wire"
)

// attached is somebody in a shell on an instance that the service knows.
func attachedUser(t *testing.T, s *service, c *api.WorkspaceClient) (*user, <-chan outcome) {
	t.Helper()
	s.mu.Lock()
	s.serves, s.inst, s.pid = true, running(), 100
	s.mu.Unlock()
	u := newUser(t)
	ch := u.attach(context.Background(), c, "box")
	u.types("echo one$((1+1))\r")
	u.sees("one2")
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.learned
	}, 2*time.Minute, time.Millisecond)
	return u, ch
}

func running() *api.Instance { return &api.Instance{ID: "i-1", Name: "box", State: api.StateRunning} }

func in(state api.State, reason string) *api.Instance {
	return &api.Instance{ID: "i-1", Name: "box", State: state, StateReason: reason}
}

// ended is how a terminal ended, and which verb goes on.
func ended(t *testing.T, o outcome) (message, hint string) {
	t.Helper()
	var e *Ended
	require.ErrorAs(t, o.err, &e)
	require.Equal(t, 1, api.ExitCode(o.err))
	require.False(t, o.res.Detached)
	return api.AsError(o.err).Message, api.AsError(o.err).Hint
}

func TestATerminalWhoseInstanceEndsIsSaidToHaveEnded(t *testing.T) {
	const start = "berth start box starts it again, and berth ssh box opens a new terminal"
	for name, is := range map[string]struct {
		then          func(s *service)
		message, hint string
	}{
		"stopped, and the line broke": {func(s *service) {
			s.acts("stop", api.OpSucceeded, in(api.StateStopped, ""))
			s.refuses(api.Errorf(api.CodeUnreachable, "box is stopped"))
		}, "the terminal ended: box was stopped by ada", start},
		"stopped, and the shell was hung up": {func(s *service) {
			s.acts("stop", api.OpRunning, in(api.StateStopping, ""))
			s.exits(wire.ExitStatus{Code: 129, Signal: "HUP"})
		}, "the terminal ended: box is being stopped by ada", start},
		"stopped by its provider": {func(s *service) {
			s.mu.Lock()
			s.inst = in(api.StateStopped, "")
			s.mu.Unlock()
			s.refuses(api.Errorf(api.CodeUnreachable, "box is stopped"))
		}, "the terminal ended: box was stopped, and not by Berth", start},
		"restarted": {func(s *service) {
			s.acts("restart", api.OpSucceeded, running())
			s.refuses(api.Errorf(api.CodeNotFound, "terminal 1 was lost when the host was restarted"))
		}, "the terminal ended: box was restarted by ada", "berth ssh box opens a new one"},
		"restarted from inside": {func(s *service) {
			s.refuses(api.Errorf(api.CodeNotFound, "terminal 1 was lost when the host was restarted"))
		}, "the terminal ended: terminal 1 was lost when the host was restarted", "berth ssh box opens a new one"},
		"restarted, and its number is another's": {func(s *service) {
			s.acts("restart", api.OpSucceeded, running())
			s.mu.Lock()
			s.pid = 200
			s.mu.Unlock()
			s.cut()
		}, "the terminal ended: box was restarted by ada", "berth ssh box opens a new one"},
		"a restart that failed": {func(s *service) {
			s.acts("restart", api.OpFailed, in(api.StateStopped, ""))
			s.refuses(api.Errorf(api.CodeUnreachable, "box is stopped"))
		}, "the terminal ended: the restart of box by ada failed", start},
		"deleted": {func(s *service) {
			s.acts("delete", api.OpSucceeded, nil)
			s.refuses(api.Errorf(api.CodeNotFound, "there is no instance box"))
		}, "the terminal ended: box was deleted by ada", ""},
		"its shim was killed": {func(s *service) {
			s.fails(api.Errorf(api.CodeFailed, "terminal 1 was lost: its shim was killed"))
		}, "the terminal ended: terminal 1 was lost: its shim was killed", "berth ssh box opens a new one"},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := serve(t, "sh")
			u, ch := attachedUser(t, s, c)
			is.then(s)
			message, hint := ended(t, u.ends(ch))
			require.Equal(t, is.message, message)
			require.Equal(t, is.hint, hint)
			require.NotContains(t, u.screen(), "shell goes on;")
		})
	}
}

func TestWhatIsNotKnownIsSaidAndTriedAgain(t *testing.T) {
	for name, is := range map[string]struct {
		then func(s *service)
		says string
	}{
		"a restart under way": {func(s *service) { s.acts("restart", api.OpRunning, in(api.StateRestarting, "")) },
			"box is being restarted by ada; trying again"},
		"suspended": {func(s *service) {
			s.mu.Lock()
			s.inst = in(api.StateStopped, "its memory is saved; a start goes on from there")
			s.mu.Unlock()
		}, "box is stopped: its memory is saved"},
		"a stop that came to nothing": {func(s *service) { s.acts("stop", api.OpFailed, running()) },
			"no route to host; trying again"},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := serve(t, "sh")
			u, ch := attachedUser(t, s, c)
			is.then(s)
			s.refuses(api.Errorf(api.CodeUnreachable, "no route to host"))
			u.sees(is.says)
			require.NotContains(t, u.screen(), "The shell goes on")
			s.mu.Lock()
			s.refuse, s.inst = nil, running()
			s.mu.Unlock()
			u.types("echo back$((1+1))\r")
			u.sees("back2")
			s.refuses(api.Errorf(api.CodeUnreachable, "no route to host"))
			u.types("\x1dd")
			o := u.ends(ch)
			require.NoError(t, o.err)
			require.True(t, o.res.Detached && o.res.Away)
			require.NotContains(t, o.res.String(), "; the shell goes on")
		})
	}
}

// TestATerminalWithoutAnAgent ends with its line, and is never said to go on.
func TestATerminalWithoutAnAgent(t *testing.T) {
	s, c := serve(t, "sh")
	s.plain = true
	u, ch := attachedUser(t, s, c)
	u.types("\x1dd")
	o := u.ends(ch)
	require.NoError(t, o.err)
	require.Contains(t, o.res.String(), "the shell ended with its line")

	s, c = serve(t, "sh")
	s.plain = true
	u, ch = attachedUser(t, s, c)
	s.cut()
	o = u.ends(ch)
	require.ErrorContains(t, o.err, "the shell ends with it")
	require.Equal(t, 6, api.ExitCode(o.err))

	s, c = serve(t, "sh")
	s.plain = true
	u, ch = attachedUser(t, s, c)
	s.acts("restart", api.OpRunning, in(api.StateRestarting, ""))
	s.cut()
	message, _ := ended(t, u.ends(ch))
	require.Equal(t, "the terminal ended: box is being restarted by ada", message)
}

package ssh

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/transport/ssh/sshdtest"
)

// A connection is closed without the manager's lock. Whoever asks for its host just then must not get it.
func TestWhatIsBeingClosedIsNotHandedOut(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *world, c *Conn, s *sshdtest.Server){
		"dropped": func(w *world, _ *Conn, _ *sshdtest.Server) { w.m.Drop("i-box") },
		"unused for long": func(w *world, c *Conn, _ *sshdtest.Server) {
			w.m.mu.Lock()
			l := w.m.lines["i-box"]
			delete(w.m.lines, "i-box")
			l.conn = nil
			w.m.unref(c)
			timer := c.linger
			w.m.mu.Unlock()
			require.True(t, timer.Stop())
			w.m.closeUnused(c)
		},
		"silent": func(_ *world, c *Conn, s *sshdtest.Server) {
			thaw := s.Freeze()
			<-c.Done()
			thaw()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sshdtest.Start(t, sshdtest.Options{})
			closing, asked := make(chan struct{}, 1), make(chan struct{})
			w := newWorld(t, func(o *Options) {
				o.Backoff = time.Hour
				if name == "silent" {
					o.Silence = 250 * time.Millisecond
				}
				o.closing = func() {
					select {
					case closing <- struct{}{}:
						<-asked
					default: // only the first is looked at
					}
				}
			}).reach(s)
			c := w.conn(w.ctx(nil), "box")
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				end(w, c, s)
			}()
			<-closing // it is decided that c ends, and it has not ended yet
			require.True(t, c.alive())
			tgt, err := w.m.resolve(w.ctx(nil), backend.SSHTarget{Host: "box"})
			require.NoError(t, err)
			w.m.mu.Lock()
			require.NotSame(t, c, w.m.conns[tgt.id])
			l := w.m.lines["i-box"]
			require.True(t, l == nil || l.conn != c || c.retired)
			w.m.mu.Unlock()
			if name != "silent" { // its host answers nobody
				require.NotSame(t, c, w.conn(w.ctx(nil), "box"))
			}
			close(asked)
			<-ended
			<-c.Done()
		})
	}
}

// While one host is slow to start its relay, the manager tells what it knows of the agent and of others.
func TestStateIsToldWhileATunnelStarts(t *testing.T) {
	t.Parallel()
	s, _, ctx, c := box(t, sshdtest.Options{})
	p := &placement{Program: "/bin/true", Socket: "/nowhere"}
	c.agent.set(p, nil)
	require.NoError(t, c.Ping(ctx)) // the server has all its processes
	thaw := sync.OnceFunc(s.Freeze())
	defer thaw()
	got := make(chan error, 1)
	go func() {
		_, err := c.getTunnel(ctx, p)
		got <- err
	}()
	eventually(t, "the tunnel starts", func() bool { return len(c.agent.starting) == 1 })
	_, st := c.Info()
	require.Equal(t, "ready", st.State)
	require.Len(t, c.agent.starting, 1)
	thaw()
	require.NoError(t, <-got)
}

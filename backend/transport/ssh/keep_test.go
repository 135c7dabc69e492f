package ssh

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/transport/ssh/sshdtest"
)

// TestKeep leaves the line of one instance: that of the other ends, and the one is not made anew once it is lost.
func TestKeep(t *testing.T) {
	t.Parallel()
	one, other := sshdtest.Start(t, sshdtest.Options{}), sshdtest.Start(t, sshdtest.Options{})
	w := newWorld(t).trust(one, other)
	w.hosts(one.Stanza("one", w.known), other.Stanza("other", w.known))
	ctx := w.ctx(nil)
	kept, dropped := w.conn(ctx, "one"), w.conn(ctx, "other")
	w.m.Keep(func(key string) bool { return key == "i-one" })
	eventually(t, "the other line ends", func() bool { return !dropped.alive() && other.Connections() == 0 })
	require.True(t, kept.alive())
	out, err := kept.script(ctx, "echo there")
	require.NoError(t, err)
	require.Contains(t, string(out), "there")

	one.Disconnect()
	eventually(t, "the line is lost", func() bool { return w.m.State("i-one").Phase == Lost })
	w.m.mu.Lock()
	again := w.m.lines["i-one"].retry != nil
	w.m.mu.Unlock()
	require.False(t, again, "the next daemon makes it anew")
	time.Sleep(10 * w.m.o.Backoff)
	require.Zero(t, one.Connections())
}

//go:build vm

package libvirt

import (
	"context"
	"errors"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/libvirt/libvirttest"
)

// cuts are after how long a call is cut off. BERTH_TEST_CUTS is how many there are, from 10 ms to 1.5 s.
func cuts(t *testing.T, few ...time.Duration) []time.Duration {
	t.Helper()
	text := os.Getenv("BERTH_TEST_CUTS")
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, "BERTH_TEST_CUTS is a number")
	out := make([]time.Duration, n)
	for i := range out {
		out[i] = 10*time.Millisecond + time.Duration(i)*1490*time.Millisecond/time.Duration(n)
	}
	return out
}

// cutOff makes a call, kills libvirtd in the middle of it, and makes the call again until the next libvirtd
// has an answer: as the workspace does, and from the first moment at which it can.
func (b *bench) cutOff(t *testing.T, after time.Duration, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	time.Sleep(after)
	b.d.Kill()
	<-done
	b.d.Launch()
	err := f()
	for end := time.Now().Add(patience); errors.Is(err, backend.ErrUnreachable) && time.Now().Before(end); err = f() {
		time.Sleep(time.Millisecond)
	}
	require.NoError(t, err, "cut off after %s", after)
}

// TestStartCutOff kills libvirtd, and the daemon that drives it, while they start a machine.
func TestStartCutOff(t *testing.T) {
	b := openVM(t, libvirttest.Tiny)
	s := b.spec("tiny")
	_, err := b.Create(t.Context(), s)
	require.NoError(t, err)
	ref := refOf(s)
	const ms = time.Millisecond
	for _, after := range cuts(t, 20*ms, 120*ms, 220*ms) {
		require.NoError(t, b.ForceStop(t.Context(), ref))
		b.cutOff(t, after, func() error { return b.Start(t.Context(), ref) })
		b.await(t, ref, api.StateRunning)
	}
	for _, after := range cuts(t, 10*ms, 100*ms, 250*ms) {
		for name, next := range map[string]func(*Backend) error{
			"start": func(n *Backend) error { return n.Start(t.Context(), ref) },
			"stop":  func(n *Backend) error { return n.Stop(t.Context(), ref) },
		} {
			require.NoError(t, b.ForceStop(t.Context(), ref))
			ctx, cancel := context.WithTimeout(t.Context(), after)
			_ = b.Start(ctx, ref) // the daemon is killed: nobody hears the answer
			cancel()
			require.NoError(t, next(b.again(t)), "%s, %s after a start", name, after)
			if name == "start" {
				b.await(t, ref, api.StateRunning)
			}
		}
	}
	require.NoError(t, b.Delete(t.Context(), ref))
	b.gone(t)
}

// TestStopCutOff kills libvirtd while a machine is asked to stop.
func TestStopCutOff(t *testing.T) {
	b := openVM(t, libvirttest.Tiny)
	s := b.spec("tiny")
	m, err := b.Create(t.Context(), s)
	require.NoError(t, err)
	ref := refOf(s)
	const ms = time.Millisecond
	for _, after := range cuts(t, 0, 300*ms) {
		b.login(t, m, nil, "true")
		b.cutOff(t, after, func() error { return b.Stop(t.Context(), ref) })
		b.await(t, ref, api.StateStopped)
		require.NoError(t, b.Start(t.Context(), ref))
		m = b.await(t, ref, api.StateRunning)
	}
	require.NoError(t, b.Delete(t.Context(), ref))
	b.gone(t)
}

// TestCreateCutOff kills libvirtd at any moment of a create.
func TestCreateCutOff(t *testing.T) {
	b := openVM(t, libvirttest.Tiny)
	require.NoError(t, b.Prepare(t.Context(), b.spec("tiny"), nil))
	const ms = time.Millisecond
	for _, after := range cuts(t, 30*ms, 100*ms, 200*ms, 300*ms) {
		s := b.spec("tiny")
		b.cutOff(t, after, func() error { _, err := b.Create(t.Context(), s); return err })
		b.await(t, refOf(s), api.StateRunning)
		require.NoError(t, b.Delete(t.Context(), refOf(s)))
		b.gone(t)
	}
}

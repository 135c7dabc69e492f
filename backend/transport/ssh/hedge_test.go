package ssh

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHedgedTakesTheFirstThatSpeaks(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	var accepted atomic.Int64
	closed := make(chan struct{}, 8)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if accepted.Add(1) == 3 { // the first two are accepted and never answered
				_, _ = io.WriteString(c, "SSH-2.0-here\r\n")
				go func() { _, _ = io.Copy(c, c) }()
				continue
			}
			go func() { _, _ = io.Copy(io.Discard, c); closed <- struct{}{} }()
		}
	}()
	var d net.Dialer
	dial := func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", l.Addr().String()) }
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c, err := hedged(ctx, 20*time.Millisecond, dial)
	require.NoError(t, err)
	defer c.Close()
	word := make([]byte, 14)
	_, err = io.ReadFull(c, word)
	require.NoError(t, err)
	require.Equal(t, "SSH-2.0-here\r\n", string(word))
	_, err = io.WriteString(c, "more")
	require.NoError(t, err)
	_, err = io.ReadFull(c, word[:4])
	require.NoError(t, err)
	require.Equal(t, "more", string(word[:4]), "the connection goes on after its first word")
	<-closed
	<-closed // the silent ones are closed
}

func TestHedgedEndsWithItsContextAndItsErrors(t *testing.T) {
	refused := errors.New("refused")
	_, err := hedged(t.Context(), time.Hour, func(context.Context) (net.Conn, error) { return nil, refused })
	require.ErrorIs(t, err, refused)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = hedged(ctx, time.Millisecond, func(ctx context.Context) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	require.ErrorIs(t, err, context.Canceled)
}

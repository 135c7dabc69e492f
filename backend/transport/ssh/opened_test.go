package ssh

import (
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOpenedWhileTheLineBreaks opens a channel to which nothing answers, not even the end of the line.
func TestOpenedWhileTheLineBreaks(t *testing.T) {
	line, never := make(chan struct{}), make(chan struct{})
	asked, got := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := opened(context.Background(), line, func() (net.Conn, error) {
			close(asked)
			<-never
			return nil, net.ErrClosed
		})
		got <- err
	}()
	<-asked
	close(line)
	require.ErrorIs(t, <-got, errLineBroke)
	close(never)
}

// TestOpenedTooLate: what is opened after nobody waits any more is closed.
func TestOpenedTooLate(t *testing.T) {
	ours, theirs := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	goOn := make(chan struct{})
	_, err := opened(ctx, make(chan struct{}), func() (net.Conn, error) {
		<-goOn
		return ours, nil
	})
	require.ErrorIs(t, err, context.Canceled)
	close(goOn)
	_, err = theirs.Read(make([]byte, 1))
	require.Error(t, err, "it is closed")
}

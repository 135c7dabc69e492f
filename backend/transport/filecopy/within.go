package filecopy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"berth/backend/api"
)

// Within copies the contents of a folder into another one of this host, which is made. What could not be copied is an
// error.
func Within(ctx context.Context, from, to string) (Result, error) {
	a, b, err := pair()
	if err != nil {
		return Result{}, fmt.Errorf("copying %s: %w", from, err)
	}
	var problem string
	s := Sender{Common: Common{Problem: func(text string) { problem = text }}, Source: from + "/."}
	sent := make(chan error, 1)
	go func() { // it ends with the stream, which the receiver closes
		_, err := s.Send(ctx, a)
		sent <- err
	}()
	r, err := (&Receiver{Target: to, Contents: true}).Receive(ctx, b)
	if serr := <-sent; err == nil {
		err = serr
	}
	if err == nil && (problem != "" || r.Problems > 0) {
		err = errors.New(problem)
	}
	if err != nil {
		return r, fmt.Errorf("copying %s to %s: %w", from, to, err)
	}
	return r, nil
}

// pair are the two ends of a stream within this process.
func pair() (a, b *api.Stream, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, err
	}
	var ends [2]*api.Stream
	for i, fd := range fds {
		unix.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "copy")
		c, cerr := net.FileConn(f)
		_ = f.Close()
		if err = errors.Join(err, cerr); cerr == nil {
			ends[i] = api.NewStream(c, bufio.NewReaderSize(c, 64<<10))
		}
	}
	if err != nil {
		for _, e := range ends {
			if e != nil {
				_ = e.Close()
			}
		}
		return nil, nil, err
	}
	return ends[0], ends[1], nil
}

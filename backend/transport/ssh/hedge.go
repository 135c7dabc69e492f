package ssh

import (
	"context"
	"net"
	"time"
)

// hedgeAfter is how long a connection may be silent before another is made beside it.
const hedgeAfter = 1500 * time.Millisecond

// hedged connects to a machine that may still be starting. What stands before such a machine (a forwarded
// port, say) may accept a connection at once and then lose its first bytes for many seconds: so another is
// made now and then, and the first in which the server says a word is the one. It is returned with that
// word still to be read. ctx bounds the whole.
func hedged(ctx context.Context, every time.Duration, dial func(context.Context) (net.Conn, error)) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	// Buffered for all that can come, so that no try waits for a reader that has gone.
	results := make(chan result, maxHedges)
	try := func() {
		conn, err := dial(ctx)
		if err != nil {
			results <- result{err: err}
			return
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		first := make([]byte, 256)
		n, err := conn.Read(first)
		if !stop() || err != nil {
			_ = conn.Close()
			if err == nil {
				err = ctx.Err()
			}
			results <- result{err: err}
			return
		}
		results <- result{conn: &peeked{Conn: conn, head: first[:n]}}
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	made, ended := 1, 0
	go try()
	for {
		select {
		case r := <-results:
			if r.err == nil {
				// Those that come too late are closed by ctx, or here.
				go func(left int) {
					for range left {
						if late := <-results; late.conn != nil {
							_ = late.conn.Close()
						}
					}
				}(made - ended - 1)
				return r.conn, nil
			}
			if ended++; ended == made {
				return nil, r.err // nothing is under way: the caller decides when to try again
			}
		case <-tick.C:
			if made < maxHedges {
				made++
				go try()
			}
		case <-ctx.Done():
			go func(left int) {
				for range left {
					if late := <-results; late.conn != nil {
						_ = late.conn.Close()
					}
				}
			}(made - ended)
			return nil, ctx.Err()
		}
	}
}

// maxHedges bounds how many connections are made for one attempt.
const maxHedges = 8

// peeked is a connection whose first bytes were read already.
type peeked struct {
	net.Conn
	head []byte
}

func (p *peeked) Read(b []byte) (int, error) {
	if len(p.head) > 0 {
		n := copy(b, p.head)
		p.head = p.head[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

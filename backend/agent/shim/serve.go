package shim

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/backend/base/peercred"
	"berth/backend/transport/wire"
)

const (
	defaultGrace = 2 * time.Second
	// requestLimit is how long a client may take for its first frame.
	requestLimit = 10 * time.Second
	maxConns     = 64
)

func (t *term) accept(l net.Listener) {
	slots := make(chan struct{}, maxConns)
	for {
		slots <- struct{}{}
		c, err := l.Accept()
		if err != nil {
			return
		}
		t.conns.Add(1)
		go func() {
			defer func() { <-slots; t.conns.Done() }()
			defer c.Close()
			// The socket and its folder are closed to others; should somebody have opened them, a
			// terminal is still its user's alone.
			if uc, ok := c.(*net.UnixConn); ok {
				if uid, err := peercred.UID(uc); err == nil && uid == os.Getuid() {
					t.serve(c)
				}
			}
		}()
	}
}

func (t *term) relisten() {
	t.lmu.Lock()
	old := t.lis
	t.lmu.Unlock()
	if ul, ok := old.(*net.UnixListener); ok {
		ul.SetUnlinkOnClose(false)
	}
	_ = old.Close()
	if err := t.listen(); err == nil {
		go t.accept(t.lis)
	}
}

func (t *term) serve(c net.Conn) {
	w := wire.NewWriter(c)
	r := wire.NewReader(bufio.NewReader(c))
	_ = c.SetReadDeadline(time.Now().Add(requestLimit))
	k, p, err := r.Next()
	if err != nil {
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	var req Request
	if k != wire.Request || json.Unmarshal(p, &req) != nil {
		_ = w.WriteJSON(wire.Error, Failure{CodeUsage, "the shim understands only a request as first frame"})
		return
	}
	switch req.Op {
	case "info":
		_ = w.WriteJSON(wire.Started, t.info())
	case "watch":
		if w.WriteJSON(wire.Started, t.info()) == nil {
			_ = w.WriteJSON(wire.Exit, t.waitEndOrGone(c))
		}
	case "kill":
		t.startKill(time.Duration(req.GraceSeconds * float64(time.Second)))
		_ = w.WriteJSON(wire.Exit, t.waitEndOrGone(c))
	case "attach":
		t.serveAttach(c, r, w, req)
	default:
		_ = w.WriteJSON(wire.Error, Failure{CodeUsage, "the shim does not know the request " + req.Op})
	}
}

// waitEndOrGone waits for the terminal's end, or until the client goes.
func (t *term) waitEndOrGone(c net.Conn) wire.ExitStatus {
	gone := false
	var reader sync.WaitGroup
	reader.Go(func() {
		var b [1]byte
		_, _ = c.Read(b[:])
		t.hub.wake(func() { gone = true })
	})
	x := t.hub.waitEnd(&gone)
	_ = c.SetReadDeadline(time.Unix(1, 0)) // ends the reader
	reader.Wait()
	return x
}

func (t *term) info() Info {
	i := t.hub.info()
	i.ID, i.PID = t.spec.ID, t.kept.Record.Child.PID
	return i
}

func (t *term) serveAttach(c net.Conn, r *wire.Reader, w *wire.Writer, req Request) {
	size := wire.Size{Rows: req.Rows, Cols: req.Cols}
	cl, ok := t.hub.attach(req.Exclusive, size)
	if !ok {
		_ = w.WriteJSON(wire.Error, Failure{CodeBusy, "terminal " + t.spec.ID + " has a client already"})
		return
	}
	defer t.hub.detach(cl)
	if w.WriteJSON(wire.Started, t.info()) != nil {
		return
	}
	var writer sync.WaitGroup
	writer.Go(func() {
		defer c.Close() // ends the reader below
		out := w.DataWriter(wire.Stdout)
		var spare []byte
		for {
			p, ok := t.hub.next(cl, spare)
			if !ok {
				break
			}
			if _, err := out.Write(p); err != nil {
				return
			}
			spare = p
		}
		if x := t.hub.ended(); x != nil {
			_ = w.WriteJSON(wire.Exit, x)
		}
	})
	t.readClient(r, w, size)
	t.hub.detach(cl)
	writer.Wait()
}

// readClient passes on what a client sends until it leaves. Typing goes through a queue, so that a
// shell that does not read never holds up a signal or a hang-up.
func (t *term) readClient(r *wire.Reader, w *wire.Writer, size wire.Size) {
	in := t.in.Source(func(n int) { _ = w.WriteWindow(uint32(n)) })
	for {
		k, p, err := r.Next()
		if err != nil {
			return
		}
		switch k {
		case wire.Stdin:
			t.hub.input(size)
			if !in.Put(p) {
				_ = w.WriteJSON(wire.Error, Failure{CodeUsage, "more was typed than the window allows"})
				return
			}
		case wire.Resize:
			var z wire.Size
			if json.Unmarshal(p, &z) == nil {
				size = z
				t.hub.resize(z)
			}
		case wire.Signal:
			if s, ok := ParseSignal(string(p)); ok {
				t.signal(s)
			}
		case wire.Detach:
			_ = w.WriteJSON(wire.Exit, wire.ExitStatus{Reason: "detached"})
			return
		}
	}
}

// signal signals the foreground job of the terminal.
func (t *term) signal(s syscall.Signal) {
	pgrp := t.kept.Record.Child.PID
	if rc, err := t.pty.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) {
			if g, err := unix.IoctlGetInt(int(fd), unix.TIOCGPGRP); err == nil && g > 0 {
				pgrp = g
			}
		})
	}
	_ = syscall.Kill(-pgrp, s)
}

// startKill begins to end the terminal, unless it ends already.
func (t *term) startKill(grace time.Duration) {
	t.lmu.Lock()
	defer t.lmu.Unlock()
	if !t.finishing {
		t.kills.Go(func() { t.kill(grace) })
	}
}

// kill ends the terminal: its shell and everything else of its session, and what carries its mark.
func (t *term) kill(grace time.Duration) {
	if grace <= 0 {
		grace = defaultGrace
	}
	t.kept.End(context.Background(), grace)
}

package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/backend/api"
	"berth/backend/base/version"
)

// How a newer agent takes over. It asks the older one, which first gives it the listening socket and the lock
// themselves, as open files over the connection, and accepts nothing from then on: who connects waits in the socket's
// queue for the newer agent, and is never refused. Then the older one drains its parts, says so, and stays until its
// streams have ended. A build from before this protocol closes both instead and answers 200: there is a moment without
// a socket then, as there is for a newer agent that does not know the protocol.

const (
	// handOverProtocol is the protocol named in the HTTP upgrade of a hand-over.
	handOverProtocol = "berth-handover/1"
	// handOverLimit is how long the older agent may take, until it has drained its parts.
	handOverLimit = 15 * time.Second
	// drainedLine says that it has.
	drainedLine = "drained\n"
)

// handleHandover lets a newer agent have lock and socket; this one stays until its streams end.
func (a *Agent) handleHandover(w http.ResponseWriter, r *http.Request) {
	var by version.Version
	if err := api.ReadJSON(r, &by); err != nil {
		api.WriteError(w, err)
		return
	}
	own := a.c.Version
	if !by.Newer(own) {
		api.WriteError(w, api.Errorf(api.CodeRefused,
			"the agent is of version %s (built %s) and makes way for a newer one only, not for %s (built %s)",
			own.Number, own.Built.Format(time.RFC3339), by.Number, by.Built.Format(time.RFC3339)))
		return
	}
	a.mu.Lock()
	was := a.draining
	a.draining = true
	a.mu.Unlock()
	if was {
		api.WriteError(w, api.Errorf(api.CodeConflict, "the agent hands over to another one already"))
		return
	}
	defer a.leave()
	if r.Header.Get("Upgrade") != handOverProtocol {
		a.drainParts() // the newer one reads the records from now on
		a.letGo(false)
		api.WriteJSON(w, http.StatusOK, own)
		return
	}
	conn, err := a.give(w)
	if err != nil {
		// The newer one has gone; who wants an agent next starts one.
		a.c.Log.Error("handing over to a newer agent", "err", err)
		a.drainParts()
		a.letGo(true)
		return
	}
	defer conn.Close()
	a.letGoShared()
	a.drainParts()
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(conn, drainedLine); err != nil {
		a.c.Log.Error("the newer agent has gone during the hand-over", "err", err)
	}
}

// give answers a hand-over's request with the socket and the lock, and returns its connection.
func (a *Agent) give(w http.ResponseWriter) (net.Conn, error) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("taking over the connection: %w", err)
	}
	c, ok := conn.(*counted)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("a connection of type %T carries no files", conn)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	err = withDescriptors([]syscall.Conn{a.lis, a.lockFile}, nil, func(fds []int) error {
		head := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + handOverProtocol + "\r\n\r\n"
		_, _, err := c.WriteMsgUnix([]byte(head), unix.UnixRights(fds...), nil)
		return err
	})
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("giving away the socket and the lock: %w", err)
	}
	return conn, nil
}

// withDescriptors calls f with the descriptors of open files, which stay open meanwhile.
func withDescriptors(files []syscall.Conn, fds []int, f func(fds []int) error) error {
	if len(files) == 0 {
		return f(fds)
	}
	rc, err := files[0].SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	err = rc.Control(func(fd uintptr) { ferr = withDescriptors(files[1:], append(fds, int(fd)), f) })
	return errors.Join(err, ferr)
}

// takeOver asks the agent on a socket to make way for a newer one, and returns its lock and socket. Both are nil where
// it is of a build that closes them instead: then they are to be made anew.
func takeOver(ctx context.Context, socket string, by version.Version) (_ *os.File, _ *net.UnixListener, err error) {
	ctx, cancel := context.WithTimeout(ctx, handOverLimit)
	defer cancel()
	body, err := json.Marshal(by)
	if err != nil {
		return nil, nil, err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	conn := c.(*net.UnixConn)
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	_, err = fmt.Fprintf(conn, "POST /v1/handover HTTP/1.1\r\nHost: berth\r\nConnection: Upgrade\r\nUpgrade: %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", handOverProtocol, len(body), body)
	if err != nil {
		return nil, nil, err
	}
	first, files, err := readFiles(conn)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		for _, f := range files {
			if f != nil && err != nil {
				_ = f.Close()
			}
		}
	}()
	r := bufio.NewReader(io.MultiReader(bytes.NewReader(first), conn))
	res, err := http.ReadResponse(r, &http.Request{Method: http.MethodPost})
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
		return nil, nil, nil
	case http.StatusSwitchingProtocols:
	default:
		var doc api.ErrorDocument
		if json.NewDecoder(res.Body).Decode(&doc) == nil && doc.Error != nil {
			return nil, nil, doc.Error
		}
		return nil, nil, fmt.Errorf("the agent answered %s", res.Status)
	}
	if len(files) != 2 {
		return nil, nil, fmt.Errorf("the agent gave %d files and not its socket and lock", len(files))
	}
	fl, err := net.FileListener(files[0])
	if err != nil {
		return nil, nil, fmt.Errorf("the socket of the older agent: %w", err)
	}
	_ = files[0].Close()
	files[0] = nil
	l, ok := fl.(*net.UnixListener)
	if !ok {
		_ = fl.Close()
		return nil, nil, fmt.Errorf("the older agent gave a %T for its socket", fl)
	}
	l.SetUnlinkOnClose(true)
	if line, err := r.ReadString('\n'); line != drainedLine {
		_ = l.Close()
		return nil, nil, fmt.Errorf("waiting until the older agent has drained its parts: %w", errors.Join(err, ctx.Err()))
	}
	return files[1], l, nil
}

// readFiles reads what comes first on a connection, and the open files that come with it.
func readFiles(c *net.UnixConn) (first []byte, files []*os.File, err error) {
	b, oob := make([]byte, 4<<10), make([]byte, unix.CmsgSpace(2*4))
	n, oobn, _, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return nil, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return nil, nil, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "handed over"))
		}
	}
	return b[:n], files, nil
}

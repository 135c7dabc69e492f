package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"berth/backend/api"
	"berth/backend/transport/flowcontrol"
	"berth/backend/transport/wire"
)

// ServeExec runs a command over a plain SSH session, for a host without an agent: it is the server's
// side of an exec stream whose request was read. It returns when the stream has ended; the stream is
// not closed. Without the agent the environment is the one that sshd gives to commands.
func (c *Conn) ServeExec(ctx context.Context, s *api.Stream, req api.ExecRequest) {
	if len(req.Argv) == 0 || req.Argv[0] == "" {
		s.Fail(api.Errorf(api.CodeUsage, "there is no command to run"))
		return
	}
	if req.NoLinger {
		s.Fail(api.Errorf(api.CodeUnsupported, "--no-linger needs the agent, and there is none on %s", c.t.where()).
			WithHint("leave it out, or send the output of what runs on to a file"))
		return
	}
	if n := req.Length(); n > maxArguments {
		s.Fail(api.Errorf(api.CodeUsage, "the command is too long for plain SSH: its arguments and variables are %d bytes, "+
			"and without the agent the limit is %d", n, maxArguments).
			WithHint("send what is long on standard input, or in a file"))
		return
	}
	c.serve(ctx, s, execCall(&req, c.tr.tellsSignals()), sessionOptions{TTY: req.TTY, Term: req.Term,
		Size: wire.Size{Rows: req.Rows, Cols: req.Cols}, Env: c.t.host.SetEnv})
}

// ServeTerminal is ServeExec for a terminal. Without the agent it does not outlive the stream: a
// detached or broken stream hangs up.
func (c *Conn) ServeTerminal(ctx context.Context, s *api.Stream, req api.TerminalRequest) {
	if req.ID != "" {
		s.Fail(api.Errorf(api.CodeNotFound,
			"there is no terminal %q: without the agent, terminals on %s do not outlive their client", req.ID, c.t.where()))
		return
	}
	o := sessionOptions{TTY: true, Term: req.Term, Size: wire.Size{Rows: req.Rows, Cols: req.Cols},
		Env: slices.Concat(c.t.host.SetEnv, req.Env)}
	script := ""
	switch {
	case len(req.Argv) > 0:
		script = execScript(req.Argv, req.Dir, req.Env)
	case req.Dir != "":
		// A login shell, as the session without a command has it, but in another folder.
		const login = `case $SHELL in */csh|*/tcsh) exec "$SHELL" -l ;; esac; exec "${SHELL:-sh}" -l`
		script = execScript([]string{"sh", "-c", login}, req.Dir, req.Env)
	}
	c.serve(ctx, s, call{script: script}, o)
}

// serve makes a call and connects it to a stream.
func (c *Conn) serve(ctx context.Context, s *api.Stream, what call, o sessionOptions) {
	command := ""
	if what.script != "" {
		command = shellLine(what.script)
	}
	if n := len(command); n > maxCommand {
		s.Fail(api.Errorf(api.CodeUsage,
			"the command is too long for plain SSH: %d bytes, the limit on a terminal is %d", n, maxCommand).
			WithHint("put it into a file on the instance"))
		return
	}
	o.NoWait = true
	p, err := c.tr.start(ctx, command, o)
	if errors.Is(err, errFull) {
		p, err = c.startElsewhere(ctx, command, o)
	}
	if err != nil {
		s.Fail(c.lineError(ctx, fmt.Errorf("starting the command on %s: %w", c.t.where(), err)))
		return
	}
	e := &served{c: c, p: p, s: s, call: what, tty: o.TTY, begun: make(chan struct{})}
	status, err := e.run(ctx)
	switch {
	case err != nil && !o.TTY && (errors.Is(err, errLineBroke) || !c.alive()):
		s.Fail(api.AsError(c.lineError(ctx, err)).WithHint("without the agent nobody tells the command there that its " +
			"client has gone: it may run on; look before you run it again"))
	case err != nil:
		s.Fail(c.lineError(ctx, err))
	default:
		_ = s.Writer.WriteJSON(wire.Exit, status) // the client may be gone
	}
}

// startElsewhere starts a command on a further connection, which ends with it: for servers that allow
// fewer sessions (MaxSessions) than there are commands and terminals.
func (c *Conn) startElsewhere(ctx context.Context, command string, o sessionOptions) (*process, error) {
	tr, err := c.m.open(ctx, c.t, c.via)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(c.ctx, tr.close)
	end := func() { stop(); tr.close() }
	p, err := tr.start(ctx, command, o)
	if err != nil {
		end()
		return nil, err
	}
	p.close = end
	return p, nil
}

// served is a process on the host connected to a stream.
type served struct {
	call
	c     *Conn
	p     *process
	s     *api.Stream
	tty   bool
	begun chan struct{} // closed when the client's input may be sent
	own   bool          // the script said that 255 is the command's own code; valid after the output's end

	mu     sync.Mutex
	leave  string // why the client's side ended: "detached" or "hung up"
	closed bool
	sig    signaller
}

func (e *served) run(ctx context.Context) (wire.ExitStatus, error) {
	defer e.p.close()
	if err := e.s.Writer.WriteJSON(wire.Started, wire.Start{}); err != nil {
		return wire.ExitStatus{}, err
	}
	stop := context.AfterFunc(ctx, func() { e.hangUp("cancelled") })
	defer stop()
	e.sig.init(e)
	// What waits is bounded by the window that the client was given, so that frames of control are read while the
	// process reads nothing.
	in := flowcontrol.New(afterInput{e.p.stdin, e.begun})
	var others sync.WaitGroup
	if e.input == "" {
		close(e.begun)
	} else {
		others.Go(func() { _, _ = io.WriteString(e.p.stdin, e.input) }) // a script that does not get all of it says so
	}
	others.Go(func() { e.output(e.p.stderr, wire.Stderr) })
	// The reader of frames ends with the stream, which its owner closes after this.
	go e.control(in)
	e.output(e.p.stdout, wire.Stdout)
	others.Wait() // wait closes what was not read
	status, err := e.p.wait()
	if e.codeMark != "" && err == nil && status.Code == sshFailed && !e.own {
		err = errLineBroke // the code is ssh's
	}
	e.sig.end() // its number may be another process's from now on
	e.p.close() // ends a write under way
	in.End()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.leave != "" {
		return wire.ExitStatus{Code: 0, Reason: e.leave}, nil
	}
	return status, err
}

// output passes a stream of the process on as frames, from the mark on if there is one.
func (e *served) output(r io.Reader, k wire.Kind) {
	w := e.s.Writer
	buf := make([]byte, 64<<10)
	if k == wire.Stdout && e.mark != "" {
		rest, line, instead, err := afterMark(r, e.mark, 64<<10)
		e.sig.known(line)
		if e.input != "" {
			close(e.begun)
		}
		if err != nil {
			_ = w.Write(k, instead) // a forced command: its output is what there is
		} else {
			r = rest
		}
	}
	if k == wire.Stderr && e.codeMark != "" {
		m := &unmarked{r: r, mark: []byte(e.codeMark)}
		defer func() { e.own = m.found }()
		r = m
	}
	if k == wire.Stderr && e.tty {
		k = wire.Stdout // a terminal has one stream; what ssh itself says belongs there too
	}
	for {
		n, err := r.Read(buf)
		if n > 0 && w.Write(k, buf[:n]) != nil {
			e.hangUp("hung up")
			_, _ = io.Copy(io.Discard, r)
			return
		}
		if err != nil {
			return
		}
	}
}

// control carries out what the client sends.
func (e *served) control(in *flowcontrol.Queue) {
	src := in.Source(func(n int) { _ = e.s.Writer.WriteWindow(uint32(n)) })
	for {
		k, p, err := e.s.Reader.Next()
		if err != nil {
			e.hangUp("hung up")
			return
		}
		switch k {
		case wire.Stdin:
			if !src.Put(p) {
				e.hangUp("hung up")
				return
			}
		case wire.StdinEOF:
			in.EOF()
		case wire.Resize:
			if z, err := parseSize(p); err == nil {
				_ = e.p.resize(z)
			}
		case wire.Signal:
			if name := string(p); signalNumbers[name] != 0 {
				e.sig.send(name)
			}
		case wire.Detach:
			e.hangUp("detached")
			return
		}
	}
}

// hangUp ends the process as a terminal that goes away does.
func (e *served) hangUp(why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.closed, e.leave = true, why
	e.sig.send("HUP")
	e.p.close()
}

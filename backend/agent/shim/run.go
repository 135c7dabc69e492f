package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"berth/backend/agent/joblog"
	"berth/backend/agent/process"
	"berth/backend/agent/ranks"
	"berth/backend/agent/tty"
	"berth/backend/base/atomicfile"
	"berth/backend/transport/flowcontrol"
	"berth/backend/transport/wire"
)

// Main is a shim: args are its arguments (the id of what it keeps, for people who look at ps). It reads a Spec from
// standard input, says Ready on descriptor 3 and lives as long as the process, which has a terminal where the Spec
// says where to listen for its clients.
func Main(args []string) int {
	// There may be hundreds of shims: memory before speed.
	debug.SetGCPercent(30)
	if len(args) > 0 && args[0] == ranks.Word {
		return ranks.Main(args[1:])
	}
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "berth agent shim ID: only the agent starts this")
		return 2
	}
	if line := process.OpenLine(); line != nil {
		return serve(line, args[0])
	}
	var spec Spec
	say, err := process.Begin(&spec)
	if err != nil {
		fmt.Fprintf(os.Stderr, "berth agent shim ID: %v\n", err)
		return 2
	}
	if spec.Socket == "" {
		code, _ := runJob(new(process.Keeper), spec, spec.Given(), process.CatchSignals(), func(x process.Said) {
			if x.PID != 0 || x.Error != "" {
				say(x.Ready)
			}
		})
		return code
	}
	t, err := open(spec)
	if err != nil {
		say(process.Ready{Error: err.Error()})
		return 1
	}
	say(process.Ready{PID: t.kept.Record.Child.PID})
	return t.run()
}

// serve is the life of a shim that its agent gives one job after the other. name is its argument, which ps shows.
func serve(line *process.ToAgent, name string) int {
	var keeper process.Keeper
	sigs := process.CatchSignals()
	for began := false; ; began = true {
		var spec Spec
		files, err := line.Next(&spec)
		switch {
		case err != nil && !errors.Is(err, io.EOF) && !began:
			fmt.Fprintf(os.Stderr, "berth agent shim ID: %v\n", err)
			return 2
		case err != nil || began && process.Told(sigs): // the agent starts another
			return 0
		}
		rename(name, spec.ID)
		code, again := runJob(&keeper, spec, files, sigs, line.Say)
		if !again || process.Told(sigs) {
			return code
		}
		line.Say(process.Said{Free: true})
	}
}

// NameRoom is how long the argument of a shim is that may keep several jobs: there its name is changed, for ps.
const NameRoom = 24

// rename writes a name over an argument of this process, which ends in spaces.
func rename(arg, name string) {
	room := unsafe.Slice(unsafe.StringData(arg), len(arg)) // the system's own: who looks at this process reads it there
	for i := range room {
		room[i] = ' '
	}
	copy(room, name)
}

// runJob keeps a job, and its log within its limit. It returns as Run does.
func runJob(k *process.Keeper, spec Spec, files []*os.File, sigs <-chan os.Signal, tell func(process.Said),
) (code int, again bool) {
	ctx, cancel := context.WithCancel(context.Background())
	var log sync.WaitGroup
	if spec.LogLimit > 0 {
		log.Go(func() {
			if err := joblog.Limit(ctx, spec.Dir, spec.LogLimit); err != nil {
				fmt.Fprintf(os.Stderr, "berth shim %s: %v\n", spec.ID, err)
			}
		})
	}
	code, again = k.Run(spec.Spec, files, sigs, tell)
	cancel()
	log.Wait()
	return code, again
}

// term is a running terminal: a process that outlives the agent, and what connects clients to it.
type term struct {
	spec  Spec
	kept  *process.Kept
	pty   *os.File
	hub   *hub
	in    *flowcontrol.Queue
	lmu   sync.Mutex
	lis   net.Listener
	conns sync.WaitGroup
	kills sync.WaitGroup // those that end the terminal's processes; Go under lmu
	// finishing is set, under lmu, once the shell has ended.
	finishing bool
	sigs      chan os.Signal
}

func open(spec Spec) (_ *term, err error) {
	t := &term{spec: spec, sigs: process.CatchSignals()}
	if err := t.listen(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = t.lis.Close()
		}
	}()
	size := wire.Size{Rows: spec.Rows, Cols: spec.Cols}
	if size.Rows == 0 || size.Cols == 0 {
		size = wire.Size{Rows: 24, Cols: 80}
	}
	// A shell that lost its terminal may open that by its name: where the number was given anew, the new device is that
	// shell's then, and can't be ours.
	for try := 1; ; try++ {
		if err = t.begin(size); err == nil {
			break
		}
		if !errors.Is(err, syscall.EPERM) || try == devices {
			return nil, err
		}
	}
	t.in = flowcontrol.New(t.pty)
	t.hub = newHub(&Ring{}, size, func(z wire.Size) { tty.Resize(t.pty, z) })
	return t, nil
}

// devices is how many terminal devices are tried.
const devices = 3

// begin starts the process on a terminal device.
func (t *term) begin(size wire.Size) error {
	master, slave, err := tty.Open(size)
	if err != nil {
		return fmt.Errorf("opening a terminal device: %w", err)
	}
	defer slave.Close()
	t.kept, err = process.Keep(t.spec.Spec, []*os.File{slave, slave, slave}, true, func(r process.Record) error {
		return atomicfile.Write(RecordPath(t.spec.Dir), Record{Record: r, Socket: t.spec.Socket, TTY: slave.Name()})
	})
	if err != nil {
		_ = master.Close()
		return err
	}
	t.pty = master
	return nil
}

// listen makes the socket, again if a cleaner of /tmp took it.
func (t *term) listen() error {
	_ = os.Remove(t.spec.Socket)
	old := syscall.Umask(0o177)
	l, err := net.Listen("unix", t.spec.Socket)
	syscall.Umask(old)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", t.spec.Socket, err)
	}
	t.lmu.Lock()
	t.lis = l
	t.lmu.Unlock()
	return nil
}

func (t *term) run() int {
	go t.accept(t.lis)
	eof := make(chan struct{})
	go func() {
		defer close(eof)
		t.readPTY()
	}()
	waited := make(chan process.Exit, 1)
	go func() { waited <- t.kept.Wait() }()
	ending := false
	for {
		select {
		case s := <-t.sigs:
			switch s {
			case syscall.SIGUSR1:
				t.relisten()
			case syscall.SIGTERM, syscall.SIGINT:
				if !ending {
					ending = true
					t.startKill(defaultGrace) // the shell's end ends this process
				}
			}
		case x := <-waited:
			return t.finish(x, eof)
		}
	}
}

// drainLimit is how long output is awaited after the shell has ended: what it started in the
// background may hold the terminal open for ever.
const drainLimit = 200 * time.Millisecond

func (t *term) finish(x process.Exit, eof <-chan struct{}) (code int) {
	timer := time.NewTimer(drainLimit)
	select {
	case <-eof:
	case <-timer.C:
	}
	timer.Stop()
	t.lmu.Lock()
	t.finishing = true
	t.lmu.Unlock()
	t.kills.Wait() // the shell goes first, and what ignores the request last
	// The result first: what a client was told must be found by an agent that comes later.
	unwritten := t.kept.Settle(x)
	t.hub.end(x.ExitStatus)
	t.lmu.Lock()
	_ = t.lis.Close() // removes the socket
	t.lmu.Unlock()
	done := make(chan struct{})
	go func() { t.conns.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(stallLimit): // a client that does not read its last bytes
	}
	if unwritten != nil && t.kept.Insist(x, t.sigs) != nil {
		return 1
	}
	return 0
}

func (t *term) readPTY() {
	buf := make([]byte, 32<<10)
	for {
		n, err := t.pty.Read(buf)
		if n > 0 {
			t.hub.output(buf[:n])
		}
		if err != nil {
			return // EIO: the last holder of the terminal is gone
		}
	}
}

package process

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Ready is the line that a shim prints once, on descriptor 3: what was started, or why it was not.
type Ready struct {
	PID   int    `json:"pid,omitempty"`
	Error string `json:"error,omitempty"`
	// Begun says that the error is ErrBegun.
	Begun bool `json:"begun,omitempty"`
}

// Descriptors of a shim beside the standard ones: its input is the Spec, the others are its log.
const (
	readyFD = 3
	givenFD = 4 // and on: those for the process
)

// maxSpec bounds the specification, in bytes: an environment and a command line.
const maxSpec = 8 << 20

// startLimit is how long a shim may take until its process runs.
const startLimit = time.Minute

// Start starts a shim by its command line and waits until its process runs. spec is a Spec, or embeds one. The shim
// belongs to nobody from then on. files are for the process, as many as the spec says; nil ones are /dev/null.
func Start(ctx context.Context, command, env []string, spec any, log *os.File, files ...*os.File) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	in, err := json.Marshal(spec)
	if err != nil {
		_ = w.Close()
		return err
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = env
	cmd.Dir = "/"
	cmd.Stdin = bytes.NewReader(in)
	cmd.Stdout, cmd.Stderr = log, log
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		_ = w.Close()
		return err
	}
	defer null.Close()
	cmd.ExtraFiles = []*os.File{w}
	for _, f := range files {
		if f == nil { // no gap: what the shim opens by itself could get that number
			f = null
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		return fmt.Errorf("starting the shim %s: %w", command[0], err)
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = r.Close() })
	defer stop()
	var ready Ready
	line, err := bufio.NewReader(io.LimitReader(r, 64<<10)).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		err = fmt.Errorf("waiting until the shim's process runs: %w", ctx.Err())
	case err != nil:
		err = fmt.Errorf("the shim ended before its process ran (its log tells more): %w", err)
	case ready.Begun:
		err = ErrBegun
	case ready.Error != "":
		err = errors.New(ready.Error)
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		_ = cmd.Process.Signal(syscall.SIGTERM) // it ends what it has started
	default:
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	}
	go func() { _ = cmd.Wait() }() // reaps it, if this process lives longer
	return err
}

// Begin is the shim's side of Start: it decodes the specification into spec and returns what tells Start how it
// went, which must be called once.
func Begin(spec any) (say func(Ready), err error) {
	CloseOnExec(readyFD) // what is started gets nothing that this process happened to inherit
	ready := os.NewFile(readyFD, "ready")
	if _, err := unix.FcntlInt(readyFD, unix.F_GETFD, 0); err != nil || ready == nil {
		return nil, errors.New("only the agent starts this")
	}
	say = func(r Ready) {
		b, _ := json.Marshal(r)
		_, _ = ready.Write(append(b, '\n')) // the agent may have been killed: the process lives on
		_ = ready.Close()
		if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil && r.Error == "" {
			_ = unix.Dup2(int(null.Fd()), 0) // the agent's pipe is not held open
			_ = null.Close()
		}
	}
	if err := json.NewDecoder(io.LimitReader(os.Stdin, maxSpec)).Decode(spec); err != nil {
		err = fmt.Errorf("the shim got no specification: %w", err)
		say(Ready{Error: err.Error()})
		return nil, err
	}
	return say, nil
}

// Given are the descriptors that Start was given for the process.
func (s Spec) Given() []*os.File {
	out := make([]*os.File, s.Files)
	for i := range out {
		out[i] = os.NewFile(uintptr(givenFD+i), fmt.Sprintf("descriptor %d of %s", i, s.ID))
	}
	return out
}

package probe

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
	"strings"
	"sync"
	"syscall"
	"time"

	"berth/gpu"
)

const (
	maxLine    = 4 << 20 // of the child: 64 GPUs with thousands of processes are below it
	maxGarbage = 100     // lines in a row that are no readings
	maxStderr  = 4 << 10
)

// outcome is how a child's life went.
type outcome struct {
	readings int
	lasted   time.Duration // from its first reading on
	broken   bool          // it ended without saying anything
	err      error         // why it ended
}

// message is one line of the child.
type message struct {
	reading gpu.Reading
	err     error
}

// session runs one child until it ends, falls silent or ctx ends.
func (p *Probe) session(ctx context.Context, command []string) outcome {
	c, err := start(command, p.o.Env)
	if err != nil {
		return outcome{broken: true, err: fmt.Errorf("starting the GPU probe %s: %w", command[0], err)}
	}
	p.set(func() { p.pid = c.cmd.Process.Pid })
	defer p.set(func() { p.pid = 0 })
	out := p.listen(ctx, c)
	c.end(p.o.pace.reap)
	defer c.close()
	select {
	case <-c.exited:
		out.explain(c)
	default:
		// A process in a call of the driver can't be ended. More of them would only pile up.
		p.set(func() {
			p.reason = fmt.Sprintf("the NVIDIA driver hangs: the probe's process %d can't be ended while it waits for it; look into dmesg, a reboot may be needed", c.cmd.Process.Pid)
		})
		select {
		case <-c.exited:
			out.explain(c)
		case <-ctx.Done():
		}
	}
	return out
}

// listen takes the child's lines.
func (p *Probe) listen(ctx context.Context, c *childProcess) (out outcome) {
	out.broken = true
	c.say(p.interval())
	began := time.Now()
	var first time.Time
	garbage := 0
	last, limit := began, p.o.pace.first
	defer func() {
		if !first.IsZero() {
			out.lasted = time.Since(first)
		}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		timer.Reset(time.Until(last.Add(limit)))
		select {
		case <-ctx.Done():
			return out
		case <-p.pacing:
			c.say(p.interval())
			if !first.IsZero() {
				last, limit = time.Now(), max(6*p.interval(), p.o.pace.kill)
			}
		case <-timer.C:
			out.broken, out.err = false, fmt.Errorf("%w (nothing for %v)", errSilent, time.Since(last).Round(time.Second))
			return out
		case m, ok := <-c.lines:
			switch {
			case !ok:
				return out
			case m.err != nil:
				if garbage++; garbage >= maxGarbage {
					out.err = fmt.Errorf("the GPU probe talks nonsense: %w", m.err)
					return out
				}
				continue
			}
			garbage = 0
			last, limit = time.Now(), max(6*p.interval(), p.o.pace.kill)
			out.broken = false
			if m.reading.Error != "" {
				out.err = errors.New(m.reading.Error)
				p.set(func() { p.reason = m.reading.Error })
				continue // the child ends now by itself
			}
			if out.readings++; first.IsZero() {
				first = last
			}
			out.err = nil
			p.memory.complete(&m.reading)
			p.set(func() { p.reading, p.received, p.reason = m.reading, last, "" })
		}
	}
}

// explain adds how the child ended, if nothing better is known.
func (o *outcome) explain(c *childProcess) {
	if o.err != nil {
		return
	}
	select {
	case <-c.said:
	case <-time.After(time.Second): // what it left behind holds the pipe
	}
	words := strings.TrimSpace(strings.ToValidUTF8(c.stderr.String(), "?"))
	if i := strings.LastIndexByte(words, '\n'); i >= 0 {
		words = words[i+1:]
	}
	if len(words) > 300 {
		words = words[len(words)-300:]
	}
	if words != "" {
		words = ": " + words
	}
	o.err = fmt.Errorf("the GPU probe ended (%v)%s", c.cmd.ProcessState, words)
}

// childProcess is one running child.
type childProcess struct {
	cmd    *exec.Cmd
	in     *os.File
	out    *os.File
	err    *os.File
	lines  chan message
	stop   chan struct{} // nobody takes lines any more
	exited chan struct{} // it was reaped
	stderr *tail
	said   chan struct{} // stderr is complete
	once   sync.Once
}

func start(command []string, env []string) (*childProcess, error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		inR.Close()
		inW.Close()
		return nil, err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		for _, f := range []*os.File{inR, inW, outR, outW} {
			f.Close()
		}
		return nil, err
	}
	c := &childProcess{in: inW, out: outR, err: errR, lines: make(chan message), stop: make(chan struct{}),
		exited: make(chan struct{}), stderr: &tail{}, said: make(chan struct{})}
	c.cmd = exec.Command(command[0], command[1:]...)
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = inR, outW, errW
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with what it starts itself
	err = c.cmd.Start()
	for _, f := range []*os.File{inR, outW, errW} {
		f.Close()
	}
	if err != nil {
		for _, f := range []*os.File{inW, outR, errR} {
			f.Close()
		}
		return nil, err
	}
	go func() {
		defer close(c.said)
		defer errR.Close()
		_, _ = io.Copy(c.stderr, errR)
	}()
	go c.read()
	go func() {
		_ = c.cmd.Wait()
		close(c.exited)
	}()
	return c, nil
}

// say tells the child its interval. One that does not read is not waited for.
func (c *childProcess) say(every time.Duration) {
	_ = c.in.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = fmt.Fprintf(c.in, "every %v\n", every)
}

// read turns the child's output into messages.
func (c *childProcess) read() {
	defer close(c.lines)
	defer c.out.Close()
	r := bufio.NewReaderSize(c.out, 64<<10)
	for {
		line, err := readLine(r, maxLine)
		if err != nil && !errors.Is(err, bufio.ErrTooLong) {
			return
		}
		var m message
		if err != nil {
			m.err = err
		} else {
			m.reading, m.err = parse(line)
		}
		select {
		case c.lines <- m:
		case <-c.stop:
			return
		}
	}
}

// readLine reads up to the next newline; what is longer than limit is skipped and fails with bufio.ErrTooLong.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := r.ReadSlice('\n')
		if !long {
			if len(line)+len(part) > limit {
				long, line = true, nil
			} else {
				line = append(line, part...)
			}
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return nil, err // a line without an end was cut off
		case long:
			return nil, bufio.ErrTooLong
		}
		return bytes.TrimSuffix(line, []byte("\n")), nil
	}
}

// maxGPUs and maxProcesses bound what a reading may hold.
const (
	maxGPUs      = 1024
	maxProcesses = 100_000
)

// parse reads a line of the child.
func parse(line []byte) (gpu.Reading, error) {
	var r gpu.Reading
	if err := json.Unmarshal(line, &r); err != nil {
		return gpu.Reading{}, fmt.Errorf("reading what the GPU probe said: %.60q: %w", line, err)
	}
	if r.At.IsZero() || len(r.GPUs) > maxGPUs || len(r.Processes) > maxProcesses {
		return gpu.Reading{}, fmt.Errorf("reading what the GPU probe said: %.60q is no reading", line)
	}
	for _, g := range r.GPUs {
		if g.Index < 0 || g.Index >= maxGPUs {
			return gpu.Reading{}, fmt.Errorf("reading what the GPU probe said: a GPU with the index %d", g.Index)
		}
	}
	if r.GPUs == nil {
		r.GPUs = []gpu.GPU{}
	}
	return r, nil
}

// end ends the child and what it started, and waits a little for it.
func (c *childProcess) end(limit time.Duration) {
	c.once.Do(func() {
		close(c.stop)
		c.in.Close() // the polite way
	})
	polite := time.NewTimer(limit / 4)
	defer polite.Stop()
	select {
	case <-c.exited:
		return // what it may have left writes into a closed pipe, and its number may be another's by now
	case <-polite.C:
	}
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-c.exited:
	case <-t.C:
	}
}

// close ends the goroutines that read from the child, also where something else still holds its pipes.
func (c *childProcess) close() {
	c.out.Close()
	c.err.Close()
}

// tail keeps the last bytes that were written.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p[max(0, len(p)-maxStderr):]...)
	if over := len(t.b) - maxStderr; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

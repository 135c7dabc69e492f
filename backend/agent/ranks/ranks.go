package ranks

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"berth/backend/agent/process"
	"berth/gpu/procs/proc"
)

// Word is the first argument of a program that is to play this.
const Word = "--ranks"

// quietAfter is how long nothing must come any more from what the processes left running, and fullPause after how long
// what could not be written to the log is tried again.
const quietAfter, fullPause = 2 * time.Second, time.Second

// grace is between the request to end, after one process has failed, and the kill.
const grace = 30 * time.Second

// Args are the arguments of a program that plays it: n processes of a program by its path, with its arguments from
// argv[0] on. files is how many descriptors after the standard ones each inherits.
func Args(n, files int, path string, argv []string) []string {
	return append([]string{Word, strconv.Itoa(n), strconv.Itoa(files), path}, argv...)
}

// Main plays it with what Args made, without the Word. It returns the exit code: that of the first that failed.
func Main(args []string) int {
	if len(args) < 4 {
		return broken(errors.New("only the agent starts this"))
	}
	n, err := strconv.Atoi(args[0])
	files, err2 := strconv.Atoi(args[1])
	if err = errors.Join(err, err2); err != nil || n < 1 || files < 0 {
		return broken(fmt.Errorf("%s of %s: %w", args[0], args[1], err))
	}
	sigs := make(chan os.Signal, 64)
	signal.Notify(sigs)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return broken(err)
	}
	defer null.Close()
	inherited := []*os.File{null, nil, nil}
	for i := range files {
		inherited = append(inherited, os.NewFile(uintptr(3+i), "inherited"))
	}
	g := &group{out: &output{w: os.Stdout}, ended: make(chan end)}
	return g.run(n, args[2], args[3:], inherited, sigs)
}

func broken(err error) int {
	fmt.Fprintf(os.Stderr, "berth: starting several processes: %v\n", err)
	return 126
}

// group is the processes of a job.
type group struct {
	out   *output
	ended chan end
	procs []*os.Process   // nil: it has ended
	ids   []proc.Identity // of procs; zero: not known
	reads sync.WaitGroup
}

// end is how one has ended.
type end struct {
	rank  int
	state *os.ProcessState
	err   error
}

// run starts all and waits for their ends.
func (g *group) run(n int, path string, argv []string, files []*os.File, sigs <-chan os.Signal) (code int) {
	for rank := range n {
		if err := g.start(rank, n, path, argv, files); err != nil {
			g.out.say("rank %d can't be started: %v", rank, err)
			g.signal(syscall.SIGKILL)
			for _, p := range g.procs {
				if p != nil {
					<-g.ended
				}
			}
			if errors.Is(err, os.ErrNotExist) {
				return 127
			}
			return 126
		}
	}
	var kill <-chan time.Time
	told := false // somebody wants them to end: that they do is no failure to tell of
	for left := n; left > 0; {
		select {
		case s := <-sigs:
			sig, ok := s.(syscall.Signal)
			switch {
			case !ok || own(sig):
				continue
			case sig == syscall.SIGTERM || sig == syscall.SIGINT || sig == syscall.SIGHUP || sig == syscall.SIGQUIT:
				told = true
			}
			g.signal(sig)
		case <-kill:
			g.signal(syscall.SIGKILL)
		case e := <-g.ended:
			left--
			g.procs[e.rank] = nil
			c, how := outcome(e)
			if c == 0 || code != 0 {
				continue
			}
			code = c
			if left > 0 && !told {
				g.out.say("rank %d %s: the others are told to end", e.rank, how)
				g.signal(syscall.SIGTERM)
				kill = time.After(grace)
			}
		}
	}
	// What they have printed is read to its end. What they left running may keep their output open: it is of the job, too,
	// but does not keep this from telling how the ranks have ended.
	read := make(chan struct{})
	go func() {
		g.reads.Wait()
		close(read)
	}()
	for quiet := false; !quiet; {
		was := g.out.written()
		select {
		case <-read:
			quiet = true
		case <-time.After(quietAfter):
			quiet = g.out.written() == was && !g.out.stuck()
		}
	}
	return code
}

// own reports a signal that is of this process, or of Go's runtime, and not for the others.
func own(s syscall.Signal) bool {
	switch s {
	case syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPIPE, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGTSTP,
		syscall.SIGCONT, syscall.SIGWINCH:
		return true
	}
	return false
}

// outcome is the exit code of one that has ended, as a shell says it, and how it ended in words.
func outcome(e end) (code int, how string) {
	if e.err != nil {
		return 126, "can't be waited for: " + e.err.Error()
	}
	if ws, ok := e.state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), "was ended by signal " + strconv.Itoa(int(ws.Signal()))
	}
	return e.state.ExitCode(), "has ended with " + strconv.Itoa(e.state.ExitCode())
}

// start starts one of n. What it prints goes to the output, line by line.
func (g *group) start(rank, n int, path string, argv []string, files []*os.File) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	given := append([]*os.File{files[0], w, w}, files[3:]...)
	p, err := os.StartProcess(path, argv, &os.ProcAttr{Env: environment(os.Environ(), rank, n), Files: given})
	if err != nil {
		_ = r.Close()
		return err
	}
	id, _ := proc.Identify(p.Pid) // before anybody waits for it
	g.procs, g.ids = append(g.procs, p), append(g.ids, id)
	g.reads.Go(func() {
		defer r.Close()
		g.out.copy(fmt.Sprintf("[%d] ", rank), r)
	})
	go func() {
		state, err := p.Wait()
		g.ended <- end{rank, state, err}
	}()
	return nil
}

// signal signals all that live, as a job's own main process gets it: a shell's child, too.
func (g *group) signal(s syscall.Signal) {
	for i, p := range g.procs {
		if p != nil && (g.ids[i].PID == 0 || process.SignalLeader(g.ids[i], s) != nil) {
			_ = p.Signal(s) // at least that one
		}
	}
}

// environment is that of one of n processes: https://docs.pytorch.org/docs/stable/elastic/run.html has the names.
func environment(env []string, rank, n int) (out []string) {
	own := map[string]int{"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": n, "LOCAL_WORLD_SIZE": n}
	for _, kv := range env {
		if k, _, _ := strings.Cut(kv, "="); own[k] == 0 && k != "RANK" && k != "LOCAL_RANK" {
			out = append(out, kv)
		}
	}
	for _, k := range []string{"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"} {
		out = append(out, k+"="+strconv.Itoa(own[k]))
	}
	return out
}

// output is what all print to.
type output struct {
	mu    sync.Mutex
	w     io.Writer
	n     atomic.Int64 // bytes that were written
	tries atomic.Bool  // something can't be written for now
}

func (o *output) written() int64 { return o.n.Load() }
func (o *output) stuck() bool    { return o.tries.Load() }

// write writes all of b, however long that takes: on a full disk the processes wait for room, as they would for a slow
// reader, and no byte is lost. o.mu is held.
func (o *output) write(b []byte) {
	for len(b) > 0 {
		n, err := o.w.Write(b)
		b = b[max(n, 0):]
		o.n.Add(int64(max(n, 0)))
		if o.tries.Store(err != nil && len(b) > 0); o.stuck() {
			time.Sleep(fullPause)
		}
	}
}

func (o *output) say(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.write(fmt.Appendf(nil, "berth: "+format+"\n", args...))
}

// longest is how many bytes without an end of line are kept back: what is longer comes in pieces.
const longest = 64 << 10

// copy puts a prefix before each line that comes from r; a carriage return ends one, too, for bars of progress. No byte
// is lost or changed, and lines of two processes don't mix unless they are very long.
func (o *output) copy(prefix string, r io.Reader) {
	var kept []byte
	begun := false // a part of the line was written
	buf := make([]byte, 32<<10)
	write := func(b []byte) {
		o.mu.Lock()
		defer o.mu.Unlock()
		var out []byte
		for len(b) > 0 {
			at := len(b)
			for i, c := range b {
				if c == '\n' || c == '\r' && (i+1 >= len(b) || b[i+1] != '\n') {
					at = i + 1
					break
				}
			}
			if !begun {
				out = append(out, prefix...)
			}
			out = append(out, b[:at]...)
			last := b[at-1]
			begun = last != '\n' && last != '\r'
			b = b[at:]
		}
		o.write(out)
	}
	for {
		n, err := r.Read(buf)
		kept = append(kept, buf[:n]...)
		end := len(kept)
		for end > 0 && kept[end-1] != '\n' && kept[end-1] != '\r' {
			end--
		}
		if end == 0 && (len(kept) >= longest || err != nil) {
			end = len(kept)
		}
		if err != nil {
			end = len(kept)
		}
		if end > 0 {
			write(kept[:end])
			kept = append(kept[:0], kept[end:]...)
		}
		if err != nil {
			if begun {
				write([]byte{'\n'})
			}
			return
		}
	}
}

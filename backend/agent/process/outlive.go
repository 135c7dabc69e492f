package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/backend/base/atomicfile"
	"berth/backend/transport/wire"
	"berth/gpu/procs/proc"
)

// Spec is what a shim is to run. It goes through a pipe and is never written to disk: the environment may hold
// secrets.
type Spec struct {
	ID    string `json:"id"`
	Dir   string `json:"dir"`   // the process's folder, for its record and its exit
	Argv0 Text   `json:"argv0"` // argv[0], "-bash" for a login shell
	Path  Text   `json:"path"`  // the program
	Args  Texts  `json:"args"`  // argv[1:]
	Mark  string `json:"mark"`  // KEY=VALUE of Env that tells its processes from all others
	Cwd   Text   `json:"cwd"`
	Env   Texts  `json:"env"`
	// Cgroup names a control group that is made for it where the host allows; "": none is.
	Cgroup string `json:"cgroup,omitempty"`
	// Limit is what it may use; it needs a Cgroup. What can't be set is said in the record, and the process begins.
	Limit Limit `json:"limit,omitzero"`
	// Files is how many descriptors Start was given for it.
	Files int `json:"files,omitempty"`
	// Names are folders whose names are made durable before it begins: those on the way to Dir that were made for it. One
	// that a power loss took would be taken for one that was never made.
	Names []string `json:"names,omitempty"`
	// Once says that its shim keeps no other after it: it has secrets, say.
	Once bool `json:"once,omitempty"`
}

// Record is what an agent needs to find the process again. Its JSON is read by later builds.
type Record struct {
	Protocol  int           `json:"protocol"`
	ID        string        `json:"id"`
	Shim      proc.Identity `json:"shim"`
	Child     proc.Identity `json:"child"` // zero: it was about to be started
	Command   string        `json:"command"`
	Mark      string        `json:"mark"`
	Cgroup    *Cgroup       `json:"cgroup,omitempty"`
	Limit     *Limited      `json:"limit,omitempty"`
	Tree      bool          `json:"tree,omitempty"` // all that descends from the shim is the process's
	StartedAt time.Time     `json:"started_at"`
}

// Protocol numbers what shims do and speak. An agent serves every number that was ever released:
// 1 wrote the exit as exit.json, 2 writes it as a line. 3 keeps who runs before that line, where there is no terminal,
// and waits for all that the process leaves behind.
const Protocol = 3

// RecordName is the record's name in a process's folder, unless a kind of process has one of its own.
const RecordName = "process.json"

// ReadRecord reads a record of that name. What embeds a Record may stand there, too.
func ReadRecord(dir, name string) (Record, error) {
	var r Record
	path := filepath.Join(dir, name)
	if err := atomicfile.Read(path, &r); err != nil {
		return r, err
	}
	if r.ID == "" || r.Shim.PID <= 0 {
		return r, fmt.Errorf("%s is not the record of a process", path)
	}
	if r.Child.PID == 0 {
		if _, _, who, err := readExit(dir); err == nil && who.Child.PID > 0 {
			r.Child, r.StartedAt = who.Child, who.At
		}
	}
	return r, nil
}

// Set is every process of it, but for the shim itself: none in another boot, whose numbers mean others now.
func (r Record) Set() Set {
	if r.Shim.OfOtherBoot() {
		return Set{}
	}
	s := Set{Cgroup: r.Cgroup, Session: r.Child.PID, SessionStart: r.Child.Start, Mark: r.Mark, Except: r.Shim.PID,
		Limit: r.Limit}
	if r.Tree && r.Shim.Alive() { // else its number is nobody's, or another's
		s.Root = r.Shim.PID
	}
	return s
}

// Signal signals the leader: the process that was started. It returns ErrGone where that has ended.
func (r Record) Signal(sig syscall.Signal) error { return r.Child.Signal(sig) }

// SignalGroup signals every process of the leader's process group, also those that outlived it. Each is known by
// more than its number when the signal is sent.
func (r Record) SignalGroup(sig syscall.Signal) error {
	members, err := r.Set().scan()
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range members {
		if m.Group == r.Child.PID {
			if err := m.Identity().Signal(sig); err != nil && !errors.Is(err, proc.ErrGone) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// Kept is a process that was started by this one, its shim, to outlive the agent.
type Kept struct {
	Record Record
	leader *os.Process
	exit   exitFile
	files  []*os.File // held as long as the process: a lock that it closes is not free
}

// Keep starts the process of a spec: in a session of its own, in a control group where one was asked for and can
// be made, and with these descriptors as its first ones (/dev/null where there are fewer than three). With tty they
// are a terminal, which becomes its own. write writes the record under the name that its kind has. An error means
// that nothing runs.
func Keep(spec Spec, files []*os.File, tty bool, write func(Record) error) (*Kept, error) {
	return new(Keeper).keep(spec, files, tty, write)
}

// Keeper is a shim that may keep several processes, one after the other: what it has found out about itself.
type Keeper struct {
	self   proc.Identity
	groups groups
}

func (h *Keeper) keep(spec Spec, files []*os.File, tty bool, write func(Record) error) (_ *Kept, err error) {
	k := &Kept{files: files}
	if k.exit, err = reserveExit(spec.Dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = k.exit.Close()
			_ = k.Record.Cgroup.Remove()
			_ = k.Record.Limit.Remove()
		}
	}()
	if h.self.PID == 0 {
		if h.self, err = proc.Self(); err != nil {
			return nil, err
		}
	}
	k.Record = Record{Protocol: Protocol, ID: spec.ID, Shim: h.self, Command: string(spec.Path), Mark: spec.Mark}
	if spec.Cgroup != "" && spec.Limit != (Limit{}) {
		k.Record.Limit = h.groups.limit(spec.Cgroup, spec.Limit)
		if dirs := k.Record.Limit.folders(); k.Record.Limit.V2 {
			k.Record.Cgroup = &Cgroup{Path: dirs[0], V2: true}
		}
	}
	if spec.Cgroup != "" && k.Record.Cgroup == nil {
		if g, err := h.groups.make(spec.Cgroup, KindAuto); err == nil {
			k.Record.Cgroup = g
		}
	}
	if !tty {
		k.Record.Tree = BecomeSubreaper() == nil
		// First: whoever finds the folder after a crash between here and the start looks for what carries the
		// mark. A terminal needs no such thing, its processes are hung up with this one.
		if err := write(k.Record); err != nil {
			return nil, fmt.Errorf("writing the record: %w", err)
		}
	}
	given := make([]*os.File, max(3, len(files)))
	if copy(given, files); slices.Contains(given, nil) {
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		defer null.Close()
		for i, f := range given {
			if f == nil {
				given[i] = null
			}
		}
	}
	k.Record.StartedAt = time.Now().UTC()
	k.leader, err = k.Record.Limit.start(func() (*os.Process, error) {
		return k.Record.Cgroup.spawn(&h.groups, string(spec.Path), append([]string{string(spec.Argv0)}, spec.Args...),
			&os.ProcAttr{Dir: string(spec.Cwd), Env: append([]string{}, spec.Env...), Files: given,
				Sys: &syscall.SysProcAttr{Setsid: true, Setctty: tty}})
	})
	if err != nil {
		k.abandon()
		var no syscall.Errno
		if !tty && errors.As(err, &no) { // whoever finds the record knows that nothing was lost
			x := Exit{ExitStatus: wire.ExitStatus{Code: 126, Reason: err.Error()}, EndedAt: k.Record.StartedAt, Errno: int(no)}
			err = errors.Join(err, k.exit.write(x))
		}
		return nil, fmt.Errorf("starting %s: %w", spec.Path, err)
	}
	st, err := proc.ReadStat(k.leader.Pid) // of a zombie, too: nobody else has its number before we wait for it
	if err == nil {
		k.Record.Child = st.Identity()
		if tty {
			err = write(k.Record)
		} else {
			err = k.exit.runs(begun{k.Record.Child, k.Record.StartedAt})
		}
	}
	if err != nil {
		// Without a record no agent would find it again: better none.
		k.abandon()
		return nil, fmt.Errorf("writing the record: %w", err)
	}
	return k, nil
}

// abandon ends a process that can't be kept.
func (k *Kept) abandon() {
	if k.leader != nil {
		_ = syscall.Kill(-k.leader.Pid, syscall.SIGKILL)
		_, _ = k.leader.Wait()
	}
}

// Wait waits until the leader has ended.
func (k *Kept) Wait() Exit {
	state, err := k.leader.Wait()
	x := Exit{EndedAt: time.Now().UTC()}
	if err != nil {
		x.ExitStatus = wire.ExitStatus{Code: 255, Reason: err.Error()}
	} else {
		x.ExitStatus = StatusOf(state)
	}
	return x
}

// StatusOf is the exit status of a process that has ended.
func StatusOf(ps *os.ProcessState) wire.ExitStatus {
	if ws, ok := ps.Sys().(syscall.WaitStatus); ok {
		return statusOf(ws)
	}
	return wire.ExitStatus{Code: ps.ExitCode()}
}

func statusOf(ws syscall.WaitStatus) wire.ExitStatus {
	if ws.Signaled() {
		return wire.ExitStatus{Code: 128 + int(ws.Signal()), Signal: SignalName(ws.Signal())}
	}
	return wire.ExitStatus{Code: ws.ExitStatus()}
}

// SignalName is the name of a signal without SIG: "KILL".
func SignalName(s syscall.Signal) string { return strings.TrimPrefix(unix.SignalName(s), "SIG") }

// Settle writes durably how the leader ended.
func (k *Kept) Settle(x Exit) error {
	if err := k.exit.write(x); err != nil {
		return fmt.Errorf("%s ended with %+v, which could not be written: %w", k.Record.Command, x.ExitStatus, err)
	}
	k.leave()
	return nil
}

// release frees what belonged to the process, of which nothing is left.
func (k *Kept) release() {
	_ = k.leader.Release()
	_ = k.exit.Close()
	for _, f := range k.files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// leave removes the control groups, which stay where processes are left in them.
func (k *Kept) leave() {
	for _, group := range k.Record.Limit.folders() {
		_ = os.Remove(group)
	}
	if k.Record.Cgroup != nil {
		_ = os.Remove(k.Record.Cgroup.Path)
	}
}

// Pauses between attempts to write an exit.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// Insist is Settle, tried again and again where it fails (an error of the disk, say): until it is written, or its
// folder is gone, or this process is told to end. The status stands in the log then.
func (k *Kept) Insist(x Exit, sigs <-chan os.Signal) error {
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		err := k.Settle(x)
		if err == nil {
			return nil
		}
		k.say("%v", err)
		if _, gone := os.Stat(k.exit.Name()); errors.Is(gone, fs.ErrNotExist) || !sleep(pause, sigs) {
			return err
		}
	}
}

// sleep waits; false: this process is told to end.
func sleep(d time.Duration, sigs <-chan os.Signal) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return true
		case s := <-sigs:
			if s == syscall.SIGTERM || s == syscall.SIGINT {
				return false
			}
		}
	}
}

// End ends all of its processes, gently at first.
func (k *Kept) End(ctx context.Context, grace time.Duration) {
	left, err := k.Record.Set().End(ctx, grace, nil)
	for _, p := range left {
		k.say("process %d could not be ended: %s", p.PID, proc.CommandOf(p.PID))
	}
	if err != nil {
		k.say("ending its processes: %v", err)
	}
}

// say writes a line to the agent's log.
func (k *Kept) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "berth shim %s: %s\n", k.Record.ID, fmt.Sprintf(format, args...))
}

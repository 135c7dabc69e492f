package proc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"berth/gpu/host/procfile"
)

// Root is where the kernel shows its processes.
const Root = "/proc"

// Reader reads processes again and again without asking for new memory. It belongs to one goroutine.
type Reader struct {
	dir, prefix string
	file        procfile.Reader
	entries     []byte
	path        []byte
	page        int64
}

// NewReader reads below dir, which is a test's own folder or "" for Root.
func NewReader(dir string) *Reader {
	if dir == "" {
		dir = Root
	}
	return &Reader{dir: dir, prefix: dir + "/", page: int64(os.Getpagesize())}
}

// All gives each process that can be seen to each; those that end meanwhile are left out. It reads the folder by
// itself: making names of thousands of entries that are thrown away costs as much as reading half of them.
func (r *Reader) All(each func(Stat)) error {
	if r.entries == nil {
		r.entries = make([]byte, 32<<10)
	}
	fd, err := unix.Open(r.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: r.dir, Err: err}
	}
	defer unix.Close(fd)
	for {
		n, err := unix.ReadDirent(fd, r.entries)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "readdir", Path: r.dir, Err: err}
		}
		if n <= 0 {
			return nil
		}
		for b := r.entries[:n]; len(b) >= 19; {
			size := int(binary.NativeEndian.Uint16(b[16:]))
			if size < 19 || size > len(b) {
				return fmt.Errorf("a folder entry of %d bytes in %s", size, r.dir)
			}
			name := b[19:size]
			if i := bytes.IndexByte(name, 0); i >= 0 {
				name = name[:i]
			}
			if pid, ok := procfile.Uint(name); ok && pid > 0 && pid < 1<<31 {
				if st, err := r.One(int(pid)); err == nil {
					each(st)
				}
			}
			b = b[size:]
		}
	}
}

// One reads the status of one process, or returns ErrGone.
func (r *Reader) One(pid int) (Stat, error) {
	r.path = strconv.AppendInt(append(r.path[:0], r.prefix...), int64(pid), 10)
	b, err := r.file.ReadAtMost(string(append(r.path, "/stat"...)), 1)
	if err != nil {
		return Stat{}, goneOr(err)
	}
	st, ok := parseStat(b, r.page)
	if !ok || st.PID != pid {
		return Stat{}, fmt.Errorf("the status of process %d can't be read: %.60q", pid, b)
	}
	return st, nil
}

// Owner reads who a process runs as, or returns ErrGone.
func (r *Reader) Owner(pid int) (Owner, error) {
	b, err := r.File(pid, "status", 0)
	if err != nil {
		return Owner{}, err
	}
	o, ok := parseOwner(b)
	if !ok {
		return o, fmt.Errorf("the owner of process %d can't be read", pid)
	}
	return o, nil
}

// File reads a file of a process, at least most bytes of it if it has so many; 0: all. What it returns is valid
// until the next call. Reading "cmdline" and "environ" reads the process's own memory, which may hang.
func (r *Reader) File(pid int, name string, most int) ([]byte, error) {
	b, err := r.file.ReadAtMost(r.prefix+strconv.Itoa(pid)+"/"+name, most)
	if err != nil {
		return nil, goneOr(err)
	}
	return b, nil
}

// goneOr makes of an error ErrGone where it says that there is no such process: ENOENT, or ESRCH while it was read.
func goneOr(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return ErrGone
	}
	return err
}

// ReadStat reads the status of one process. It returns ErrGone only where the kernel agrees that no process has
// that number: /proc may hide those of other users, or be another name space's.
func ReadStat(pid int) (Stat, error) {
	r := NewReader("")
	for range 3 { // between the questions one may end, and another get its number
		st, err := r.One(pid)
		st.Comm = nil
		if !errors.Is(err, ErrGone) || pid <= 0 || errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			return st, err
		}
	}
	return Stat{}, fmt.Errorf("process %d can't be seen in %s", pid, Root)
}

// BootID identifies this boot of the host.
var BootID = sync.OnceValue(func() string {
	b, err := os.ReadFile(Root + "/sys/kernel/random/boot_id")
	if err != nil {
		return unknownBoot // a strict container: PID and start time still tell
	}
	return strings.TrimSpace(string(b))
})

// What the kernel calls its first name spaces: PROC_PID_INIT_INO and PROC_TIME_INIT_INO.
const (
	firstPIDs = "pid:[4026531836]"
	firstTime = "time:[4026531834]"
)

// space names this process's PID name space, and that of its clocks where it has one of its own: start times
// count from there. Who moves to another name space does so by a child.
var space = sync.OnceValue(func() string {
	pids, err := os.Readlink(Root + "/self/ns/pid")
	if err != nil {
		return ""
	}
	if clocks, err := os.Readlink(Root + "/self/ns/time"); err == nil && clocks != firstTime {
		return pids + " " + clocks
	}
	return pids
})

// Network names the network that this process is in, so that two processes can tell whether a port of the one is a port
// of the other; "" where that can't be told.
var Network = sync.OnceValue(func() string {
	ns, err := os.Readlink(Root + "/self/ns/net")
	if err != nil || BootID() == unknownBoot {
		return ""
	}
	return BootID() + " " + ns
})

// Foreign reports whether this process lives in another PID name space than the kernel's first one.
func Foreign(dir string) bool {
	if dir == "" {
		dir = Root
	}
	ns, err := os.Readlink(dir + "/self/ns/pid")
	return err == nil && ns != firstPIDs
}

package procs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/gpu/host/procfile"
)

type procSource struct {
	dir, prefix string
	file        procfile.Reader
	entries     []byte
	path        []byte
	page        int64
	foreign     bool
}

func newSource(o Options) source {
	return &procSource{dir: o.Proc, prefix: o.Proc + "/", entries: make([]byte, 32<<10), page: int64(os.Getpagesize()), foreign: *o.Foreign}
}

// all reads the folder by itself: making names of thousands of entries that are thrown away costs as much as
// reading half of them.
func (s *procSource) all(each func(stat)) error {
	fd, err := unix.Open(s.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: s.dir, Err: err}
	}
	defer unix.Close(fd)
	for {
		n, err := unix.ReadDirent(fd, s.entries)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "readdir", Path: s.dir, Err: err}
		}
		if n <= 0 {
			return nil
		}
		for b := s.entries[:n]; len(b) >= 19; {
			size := int(binary.NativeEndian.Uint16(b[16:]))
			if size < 19 || size > len(b) {
				return fmt.Errorf("a folder entry of %d bytes in %s", size, s.dir)
			}
			name := b[19:size]
			if i := bytes.IndexByte(name, 0); i >= 0 {
				name = name[:i]
			}
			if pid, ok := procfile.Uint(name); ok && pid > 0 && pid < 1<<31 {
				if st, ok := s.one(int(pid)); ok {
					each(st)
				}
			}
			b = b[size:]
		}
	}
}

func (s *procSource) one(pid int) (stat, bool) {
	s.path = strconv.AppendInt(append(s.path[:0], s.prefix...), int64(pid), 10)
	b, err := s.file.ReadAtMost(string(append(s.path, "/stat"...)), 1)
	if err != nil {
		return stat{}, false
	}
	st, ok := parseStat(b, s.page)
	return st, ok && st.pid == pid
}

func (s *procSource) details(pid int) details {
	d := details{uid: -1}
	dir := s.prefix + strconv.Itoa(pid)
	var r procfile.Reader
	if b, err := r.Read(dir + "/status"); err == nil {
		if st, ok := parseStatus(b); ok {
			d.uid = st.effective
		}
	}
	if b, err := r.Read(dir + "/cgroup"); err == nil {
		d.cgroup = string(b)
		d.container, _ = procfile.ContainerOfGroups(b)
	}
	if s.foreign {
		d.usesGPU = usesGPU(dir)
	}
	// From here on the process's own memory is read, which may hang.
	if b, err := r.ReadAtMost(dir+"/cmdline", 4*commandLimit); err == nil {
		d.command = commandLine(b)
	}
	if b, err := r.ReadAtMost(dir+"/environ", 256<<10); err == nil {
		for v := range bytes.SplitSeq(b, []byte{0}) {
			if bytes.HasPrefix(v, []byte("BERTH_")) && len(v) < 4096 {
				d.environ = append(d.environ, string(v))
			}
		}
	}
	return d
}

// usesGPU reports whether the process has a GPU open.
func usesGPU(dir string) bool {
	fds, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return false
	}
	for _, f := range fds {
		if to, err := os.Readlink(dir + "/fd/" + f.Name()); err == nil && (strings.HasPrefix(to, "/dev/nvidia") || to == "/dev/dxg") {
			return true
		}
	}
	return false
}

type status struct {
	group           int // Tgid: the process that a thread belongs to
	real, effective int
}

// parseStatus reads what is used of /proc/PID/status.
func parseStatus(b []byte) (s status, ok bool) {
	var group, uid bool
	for len(b) > 0 {
		var line []byte
		line, b = procfile.Line(b)
		key, rest := procfile.Next(line)
		switch string(key) {
		case "Tgid:":
			w, _ := procfile.Next(rest)
			v, isNum := procfile.Uint(w)
			s.group, group = int(v&(1<<31-1)), isNum && v < 1<<31
		case "Uid:":
			w, rest := procfile.Next(rest)
			a, ok1 := procfile.Uint(w)
			w, _ = procfile.Next(rest)
			e, ok2 := procfile.Uint(w)
			s.real, s.effective, uid = int(a&(1<<32-1)), int(e&(1<<32-1)), ok1 && ok2 && a < 1<<32 && e < 1<<32
		}
	}
	return s, group && uid
}

func (s *procSource) startedAgo(start uint64) time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil || start > 1<<40 {
		return 0
	}
	return max(time.Duration(t.Nano())-time.Duration(start)*tick, 0)
}

// foreign reports whether this process lives in another PID name space than the kernel's first one.
func foreign(proc string) bool {
	const first = "pid:[4026531836]" // PROC_PID_INIT_INO
	ns, err := os.Readlink(proc + "/self/ns/pid")
	return err == nil && ns != first
}

// threadTime is the processor time of this thread, which is kept to this goroutine until threadDone.
func threadTime() time.Duration {
	runtime.LockOSThread()
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// threadDone undoes both calls of threadTime around a measurement.
func threadDone() {
	runtime.UnlockOSThread()
	runtime.UnlockOSThread()
}

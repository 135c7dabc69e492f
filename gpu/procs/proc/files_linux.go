package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// fields reads a file of strings that zero bytes end.
func fields(pid int, name string) ([]string, error) {
	b, err := NewReader("").File(pid, name, 0)
	if err != nil || len(b) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00"), nil
}

// Args are the arguments of a process, none for a zombie and a thread of the kernel.
func Args(pid int) ([]string, error) { return fields(pid, "cmdline") }

// Cgroups is a process's list of control groups, as the system has it (cgroups(7), /proc/PID/cgroup).
func Cgroups(pid int) ([]byte, error) { return NewReader("").File(pid, "cgroup", 0) }

// Environ is the environment that a process was started with. Another user's can't be read.
func Environ(pid int) ([]string, error) { return fields(pid, "environ") }

// HasEnv reports whether the process was started with the variable KEY=VALUE. Another user's environment can't be
// read, which counts as no.
func HasEnv(pid int, kv string) bool {
	b, err := NewReader("").File(pid, "environ", 0)
	if err != nil {
		return false
	}
	for v := range bytes.SplitSeq(b, []byte{0}) {
		if string(v) == kv {
			return true
		}
	}
	return false
}

// CommandOf returns the command line of a process for people, or "".
func CommandOf(pid int) string {
	args, _ := Args(pid)
	return strings.TrimSpace(strings.Join(args, " "))
}

// Exe is the path of the program that a process runs.
func Exe(pid int) (string, error) {
	path, err := os.Readlink(filepath.Join(Root, strconv.Itoa(pid), "exe"))
	return path, goneOr(err)
}

// Running lists the processes, other than this one, that run a program, as far as the system shows that.
func Running(program os.FileInfo) []int {
	all, err := All()
	if err != nil {
		return nil
	}
	var out []int
	for _, s := range all {
		fi, err := os.Stat(filepath.Join(Root, strconv.Itoa(s.PID), "exe"))
		if err == nil && os.SameFile(fi, program) && s.PID != os.Getpid() {
			out = append(out, s.PID)
		}
	}
	return out
}

// Opens reports whether the process has a file open whose name match says yes to.
func (r *Reader) Opens(pid int, match func(name string) bool) bool {
	dir := r.prefix + strconv.Itoa(pid) + "/fd"
	fds, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(fds, func(fd os.DirEntry) bool {
		to, err := os.Readlink(filepath.Join(dir, fd.Name()))
		return err == nil && match(to)
	})
}

// Sockets gives the inode of each socket that the process has open. Of a process whose descriptors can't be read it
// gives none: another user's, or one that has ended.
func (r *Reader) Sockets(pid int, each func(inode uint64)) {
	dir := r.prefix + strconv.Itoa(pid) + "/fd"
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1) // what was read before an error counts
	var to [64]byte
	for _, name := range names {
		n, err := unix.Readlinkat(int(d.Fd()), name, to[:])
		if err != nil {
			continue
		}
		digits, ok := bytes.CutPrefix(to[:n], []byte("socket:["))
		if !ok {
			continue
		}
		if inode, err := strconv.ParseUint(string(bytes.TrimSuffix(digits, []byte("]"))), 10, 64); err == nil {
			each(inode)
		}
	}
}

// Holders lists the processes, other than this one, that have one of the pipes open, in order. Those of other
// users can't be seen without root and are left out.
func Holders(pipes []os.FileInfo) []int {
	var names []string
	for _, fi := range pipes {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			names = append(names, fmt.Sprintf("pipe:[%d]", st.Ino)) // the name in /proc of what has no path
		}
	}
	all, err := All()
	if err != nil || len(names) == 0 {
		return nil
	}
	r := NewReader("")
	var out []int
	for _, st := range all {
		if st.PID != os.Getpid() && r.Opens(st.PID, func(to string) bool { return slices.Contains(names, to) }) {
			out = append(out, st.PID)
		}
	}
	slices.Sort(out)
	return out
}

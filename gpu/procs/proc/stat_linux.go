package proc

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"

	"berth/gpu/host/procfile"
)

const (
	tick       = 10 * time.Millisecond // USER_HZ is 100 on every architecture that Go knows
	kernelFlag = 0x00200000            // PF_KTHREAD
)

// parseStat reads a line of /proc/PID/stat. The command in parentheses may hold anything, also spaces and
// parentheses: fields are counted from the last one.
func parseStat(b []byte, page int64) (s Stat, ok bool) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return s, false
	}
	pid, ok := procfile.Uint(bytes.TrimSpace(b[:open]))
	if !ok || pid > 1<<31-1 {
		return s, false
	}
	s.PID, s.Comm = int(pid), b[open+1:end]
	state, rest := procfile.Next(b[end+1:])
	if len(state) != 1 {
		return s, false
	}
	s.State = state[0]
	var f [25]uint64 // by the numbers of proc(5)
	for i := 4; i <= 24; i++ {
		var w []byte
		w, rest = procfile.Next(rest)
		if len(w) > 0 && w[0] == '-' { // priorities, and what has no terminal
			continue
		}
		if f[i], ok = procfile.Uint(w); !ok {
			return s, false
		}
	}
	for _, i := range []int{4, 5, 6, 20} {
		if f[i] > 1<<31-1 {
			return s, false
		}
	}
	if f[24] > 1<<40 || f[14] > 1<<36 || f[15] > 1<<36 {
		return s, false
	}
	s.PPID, s.Group, s.Session, s.TTY = int(f[4]), int(f[5]), int(f[6]), f[7] != 0
	s.Kernel, s.Threads = f[9]&kernelFlag != 0, int(f[20])
	s.CPU = time.Duration(f[14]+f[15]) * tick
	s.Start, s.Memory = f[22], int64(f[24])*page
	return s, true
}

// parseOwner reads what is used of /proc/PID/status.
func parseOwner(b []byte) (o Owner, ok bool) {
	var group, uid bool
	for len(b) > 0 {
		var line []byte
		line, b = procfile.Line(b)
		key, rest := procfile.Next(line)
		switch string(key) {
		case "Tgid:":
			w, _ := procfile.Next(rest)
			v, isNum := procfile.Uint(w)
			o.Group, group = int(v&(1<<31-1)), isNum && v < 1<<31
		case "Uid:":
			w, rest := procfile.Next(rest)
			a, ok1 := procfile.Uint(w)
			w, _ = procfile.Next(rest)
			e, ok2 := procfile.Uint(w)
			o.Real, o.Effective = int(a&(1<<32-1)), int(e&(1<<32-1))
			uid = ok1 && ok2 && a < 1<<32 && e < 1<<32
		}
	}
	return o, group && uid
}

// Age is how long ago a process of that Start began; ok is false where it can't be told.
func Age(start uint64) (age time.Duration, ok bool) {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil || start > 1<<40 {
		return 0, false
	}
	return max(time.Duration(t.Nano())-time.Duration(start)*tick, 0), true
}

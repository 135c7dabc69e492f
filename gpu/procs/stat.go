package procs

import (
	"bytes"
	"time"

	"berth/gpu/host/procfile"
)

// stat is what changes of a process.
type stat struct {
	pid, ppid int
	comm      []byte // valid until the next is read
	state     byte
	kernel    bool          // a thread of the kernel
	cpu       time.Duration // that it used since it started
	threads   int
	start     uint64 // since boot; in ticks on Linux
	memory    int64  // resident, bytes
}

const (
	tick       = 10 * time.Millisecond // USER_HZ is 100 on every architecture that Go knows
	kernelFlag = 0x00200000            // PF_KTHREAD
)

// parseStat reads a line of /proc/PID/stat. The command in parentheses may hold anything, also spaces and
// parentheses: fields are counted from the last one.
func parseStat(b []byte, page int64) (s stat, ok bool) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return s, false
	}
	pid, ok := procfile.Uint(bytes.TrimSpace(b[:open]))
	if !ok || pid > 1<<31-1 {
		return s, false
	}
	s.pid, s.comm = int(pid), b[open+1:end]
	state, rest := procfile.Next(b[end+1:])
	if len(state) != 1 {
		return s, false
	}
	s.state = state[0]
	var f [25]uint64 // by the numbers of proc(5)
	for i := 4; i <= 24; i++ {
		var w []byte
		w, rest = procfile.Next(rest)
		if len(w) > 0 && w[0] == '-' { // priorities, and no terminal
			continue
		}
		if f[i], ok = procfile.Uint(w); !ok {
			return s, false
		}
	}
	if f[4] > 1<<31-1 || f[20] > 1<<31-1 || f[24] > 1<<40 || f[14] > 1<<36 || f[15] > 1<<36 {
		return s, false
	}
	s.ppid, s.threads = int(f[4]), int(f[20])
	s.kernel = f[9]&kernelFlag != 0
	s.cpu = time.Duration(f[14]+f[15]) * tick
	s.start, s.memory = f[22], int64(f[24])*page
	return s, true
}

// stateName puts the kernel's letter in words.
func stateName(c byte) string {
	switch c {
	case 'R':
		return "running"
	case 'D':
		return "waiting"
	case 'T', 't':
		return "stopped"
	case 'Z', 'X', 'x':
		return "zombie"
	}
	return "sleeping"
}

// commandLimit is how many bytes of a command are shown.
const commandLimit = 256

// commandLine makes arguments, separated by zero bytes, one line for people.
func commandLine(b []byte) string {
	if len(b) > 4*commandLimit {
		b = b[:4*commandLimit]
	}
	return clean(string(bytes.TrimRight(b, "\x00 ")))
}

// clean replaces control characters and what is not text, and shortens.
func clean(s string) string {
	out := make([]byte, 0, min(len(s), commandLimit))
	for _, r := range s {
		switch {
		case r == 0 || r == '\n' || r == '\t' || r == '\r':
			r = ' '
		case r < ' ' || (r >= 0x7f && r < 0xa0) || r == 0xfffd || (r >= 0x200b && r <= 0x200f) || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069):
			r = '?'
		}
		next := append(out, string(r)...)
		if len(next) > commandLimit {
			break
		}
		out = next
	}
	return string(out)
}

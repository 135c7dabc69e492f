package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Stat is what is used of /proc/PID/stat.
type Stat struct {
	PID, PPID, Group, Session int
	Start                     uint64 // clock ticks since boot
	TTY                       bool
	Zombie                    bool
}

// BootID identifies this boot of the host.
var BootID = sync.OnceValue(func() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown" // a /proc without it (a strict container): PID and start time still tell
	}
	return strings.TrimSpace(string(b))
})

// ReadStat reads the status of one process, or returns ErrGone.
func ReadStat(pid int) (Stat, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Stat{}, ErrGone // ENOENT, or ESRCH while it was read
	}
	st, err := parseStat(b)
	st.PID = pid
	return st, err
}

// parseStat reads a line of /proc/PID/stat. The command in parentheses may hold anything, also
// spaces and parentheses: fields are counted from the last one.
func parseStat(b []byte) (Stat, error) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return Stat{}, fmt.Errorf("a process status without a command: %.60q", b)
	}
	f := strings.Fields(string(b[i+1:]))
	// f[0] is field 3 (state), f[19] field 22 (start time) of proc(5).
	if len(f) < 20 {
		return Stat{}, fmt.Errorf("a process status of %d fields: %.60q", len(f)+2, b)
	}
	var st Stat
	var err error
	num := func(i int) int {
		n, e := strconv.Atoi(f[i])
		if e != nil && err == nil {
			err = fmt.Errorf("field %d of a process status: %w", i+3, e)
		}
		return n
	}
	st.Zombie = f[0] == "Z" || f[0] == "X" || f[0] == "x"
	st.PPID, st.Group, st.Session, st.TTY = num(1), num(2), num(3), num(4) != 0
	if err != nil {
		return Stat{}, err
	}
	if st.Start, err = strconv.ParseUint(f[19], 10, 64); err != nil {
		return Stat{}, fmt.Errorf("the start time of a process: %w", err)
	}
	return st, nil
}

// All lists every process that can be seen. Those that end meanwhile are left out.
func All() ([]Stat, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	out := make([]Stat, 0, len(names))
	for _, n := range names {
		if n[0] < '0' || n[0] > '9' {
			continue
		}
		pid, err := strconv.Atoi(n)
		if err != nil {
			continue
		}
		if st, err := ReadStat(pid); err == nil {
			out = append(out, st)
		}
	}
	return out, nil
}

// HasEnv reports whether the process was started with the variable KEY=VALUE. Another user's
// environment can't be read, which counts as no.
func HasEnv(pid int, kv string) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
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
	b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
}

// tick is the unit of start times.
const tick = time.Second / 100

// StartedAt is when the process started, by the clock as it is set now; zero where that can't be told.
func (id Identity) StartedAt() time.Time {
	var up unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil || id.Start > 1<<40 {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(id.Start)*tick - time.Duration(up.Nano()))
}

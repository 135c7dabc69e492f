package terminal

import (
	"time"

	"golang.org/x/sys/unix"
)

// ttyActivity is when a terminal was last written to or typed at: the kernel keeps both in the
// device's times, to a few seconds.
func ttyActivity(tty string) time.Time {
	var st unix.Stat_t
	if unix.Stat(tty, &st) != nil {
		return time.Time{}
	}
	a, m := statTimes(&st)
	if a.After(m) {
		return a.UTC()
	}
	return m.UTC()
}

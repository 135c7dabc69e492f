package root

import (
	"time"

	"golang.org/x/sys/unix"
)

func setClock(to time.Time) error {
	ts := unix.NsecToTimespec(to.UnixNano())
	return unix.ClockSettime(unix.CLOCK_REALTIME, &ts)
}

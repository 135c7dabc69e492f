package agent

import (
	"time"

	"golang.org/x/sys/unix"
)

func statTimes(st *unix.Stat_t) (accessed, modified time.Time) {
	return time.Unix(st.Atim.Unix()), time.Unix(st.Mtim.Unix())
}

func memoryBytes() int64 {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0
	}
	return int64(n)
}

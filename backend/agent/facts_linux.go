package agent

import (
	"time"

	"golang.org/x/sys/unix"
)

func statTimes(st *unix.Stat_t) (accessed, modified time.Time) {
	return time.Unix(st.Atim.Unix()), time.Unix(st.Mtim.Unix())
}

// memoryBytes is the host's memory; a container's limit is below it where one is set, which later
// figures show.
func memoryBytes() int64 {
	var si unix.Sysinfo_t
	if unix.Sysinfo(&si) != nil {
		return 0
	}
	return int64(si.Totalram) * int64(si.Unit)
}

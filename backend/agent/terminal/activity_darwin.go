package terminal

import (
	"time"

	"golang.org/x/sys/unix"
)

func statTimes(st *unix.Stat_t) (accessed, modified time.Time) {
	return time.Unix(st.Atim.Unix()), time.Unix(st.Mtim.Unix())
}

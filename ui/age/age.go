package age

import (
	"strconv"
	"time"
)

// Elapsed writes d for something that is under way: seconds below a minute, then minutes, hours,
// days. Next is the time after which the text changes.
func Elapsed(d time.Duration) (s string, next time.Duration) {
	if d < 0 { // a clock that was set back
		return "0s", -d + time.Second
	}
	if d < time.Minute {
		return strconv.Itoa(int(d/time.Second)) + "s", time.Second - d%time.Second
	}
	return Coarse(d)
}

// Coarse writes d in minutes, hours or days; "now" below a minute.
func Coarse(d time.Duration) (s string, next time.Duration) {
	const day = 24 * time.Hour
	switch {
	case d < 0:
		return "now", -d + time.Minute
	case d < time.Minute:
		return "now", time.Minute - d
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + "m", time.Minute - d%time.Minute
	case d < 2*day:
		return strconv.Itoa(int(d/time.Hour)) + "h", time.Hour - d%time.Hour
	}
	return strconv.Itoa(int(d/day)) + "d", day - d%day
}

package jobword

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"berth/backend/api"
	"berth/ui/money"
)

// Percent is how far a job is, in one word: "37%". It is empty where that isn't known.
func Percent(p *api.JobProgress) string {
	if p.Percent == nil {
		return ""
	}
	return strconv.Itoa(int(*p.Percent)) + "%"
}

// Progress says how far a job is that runs: "37%, 4.0 it/s, until about 14:05". It is empty where nothing is known.
func Progress(p *api.JobProgress, now time.Time) string {
	if p.Percent == nil {
		return ""
	}
	s := Percent(p)
	switch {
	case p.Of != "":
		s += " of " + p.Of
	case p.From == api.FromHistory:
		s += " of what it took before"
	case p.From == api.FromTimeLimit:
		s += " of its time"
	}
	if r := rate(p.Rate, p.Unit); r != "" {
		s += ", " + r
	}
	if at := Moment(p.EndAt, now); at != "" {
		s += ", until about " + at
	}
	return s
}

// Moment is a time that is to come, as short as it can be: the time of day, with the date where that is another. It is
// empty for one that is over.
func Moment(at, now time.Time) string {
	if at.IsZero() || !at.After(now) {
		return ""
	}
	at = at.Local()
	if at.Format(time.DateOnly) == now.Local().Format(time.DateOnly) {
		return at.Format("15:04")
	}
	return at.Format("Jan 2 15:04")
}

// rate says how fast it goes; slow things in seconds for each.
func rate(perSecond float64, unit string) string {
	switch {
	case perSecond <= 0 || unit == "":
		return ""
	case unit == "B":
		return money.Bytes(int64(perSecond)) + "/s"
	case perSecond < 1:
		return fmt.Sprintf("%s s/%s", short(1/perSecond), unit)
	}
	return fmt.Sprintf("%s %s/s", short(perSecond), unit)
}

// short is a number with at least two digits.
func short(v float64) string {
	if v < 10 {
		return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

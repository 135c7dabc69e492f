package top

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"berth/ui/age"
	"berth/ui/money"
)

const unsupported = "not supported"

// size writes a number of bytes in at most five cells: "472G", "1.1T".
func size(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return money.Unknown
	}
	neg := ""
	if v < 0 {
		neg, v = "-", -v
	}
	units := []string{"B", "K", "M", "G", "T", "P", "E"}
	i := 0
	for v >= 999.5 && i < len(units)-1 {
		v /= 1024
		i++
	}
	if v < 9.95 && i > 0 && v != math.Trunc(v) {
		return fmt.Sprintf("%s%.1f%s", neg, v, units[i])
	}
	return fmt.Sprintf("%s%.0f%s", neg, v, units[i])
}

func bytesOf(v *int64) string {
	if v == nil {
		return money.Unknown
	}
	return size(float64(*v))
}

func rateOf(v *int64) string {
	if v == nil {
		return money.Unknown
	}
	return size(float64(*v)) + "/s"
}

func number(v *float64, unit string) string {
	if v == nil {
		return money.Unknown
	}
	if math.Abs(*v) < 9.95 && *v != math.Trunc(*v) {
		return fmt.Sprintf("%.1f%s", *v, unit)
	}
	return fmt.Sprintf("%.0f%s", *v, unit)
}

// said is a figure on a page that says everything.
func said(s string) string {
	if s == money.Unknown || s == "" {
		return unsupported
	}
	return s
}

// of writes a part and its whole.
func of(part, whole *int64) string {
	if part == nil || whole == nil {
		return money.Unknown
	}
	return size(float64(*part)) + " of " + size(float64(*whole))
}

func yes(b *bool, on, off string) string {
	switch {
	case b == nil:
		return unsupported
	case *b:
		return on
	}
	return off
}

func count(v *int64) string {
	if v == nil {
		return unsupported
	}
	return fmt.Sprint(*v)
}

// span writes a duration in its largest units: "5h", "3d".
func span(seconds float64) string {
	s, _ := age.Coarse(time.Duration(max(60, min(seconds, 1e9))) * time.Second)
	return s
}

// energy writes joules as kilowatt hours.
func energy(j *float64) string {
	if j == nil {
		return unsupported
	}
	if *j < 3.6e6 {
		return fmt.Sprintf("%.1f Wh", *j/3600)
	}
	return fmt.Sprintf("%.1f kWh", *j/3.6e6)
}

// throttle writes why clocks are held back.
func throttle(reasons []string) string {
	switch {
	case reasons == nil:
		return unsupported
	case len(reasons) == 0:
		return "no"
	}
	return strings.Join(reasons, ", ")
}

func itoa(n int) string { return strconv.Itoa(n) }

// clock writes a clock and its maximum.
func clock(now, most *float64) string {
	switch {
	case now == nil:
		return unsupported
	case most == nil:
		return number(now, " MHz")
	}
	return number(now, "") + " of " + number(most, " MHz")
}

// nameOf is what a thing is called elsewhere.
func (s *Top) nameOf(k item) string {
	switch k.kind {
	case cpuItem, memItem:
		return s.name
	case procItem:
		if p := s.process(k); p != nil {
			return itoa(p.PID)
		}
	}
	return k.subject
}

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

// size writes a number of bytes that may be negative, as growth is, or not known.
func size(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return money.Unknown
	case v < 0:
		return "-" + money.Bytes(int64(min(-v, math.MaxInt64/2)))
	}
	return money.Bytes(int64(min(v, math.MaxInt64/2)))
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
	return money.Of(*part, *whole)
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

// energy writes joules in watt hours.
func energy(j *float64) string {
	if j == nil {
		return unsupported
	}
	return money.Energy(*j)
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
	}
	return money.FigureOf(now, most, money.MHz)
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

package progress

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

func digit(c byte) bool { return c >= '0' && c <= '9' }
func letter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= utf8.RuneSelf
}

// number reads a number that s begins with, which has a decimal point at most: "12", "12.5".
func number(s string) (v float64, rest string, ok bool) {
	n := 0
	for n < len(s) && (digit(s[n]) || s[n] == '.' && n > 0 && n+1 < len(s) && digit(s[n+1])) {
		n++
	}
	if n == 0 || n > 18 {
		return 0, s, false
	}
	v, err := strconv.ParseFloat(s[:n], 64)
	return v, s[n:], err == nil
}

// counted is a number with the suffix of thousands that bars write: "45.2M".
func counted(s string) (v float64, rest string, ok bool) {
	if v, rest, ok = number(s); !ok || rest == "" {
		return v, rest, ok
	}
	if i := strings.IndexByte("kMGT", rest[0]); i >= 0 {
		for range i + 1 {
			v *= 1000
		}
		rest = rest[1:]
	}
	return v, rest, ok
}

// clock reads a length of time as bars write it: "12s", "1:02", "1:02:03", "1 day, 2:03:04".
func clock(s string) (d time.Duration, rest string, ok bool) {
	v, rest, ok := number(s)
	if !ok {
		return 0, s, false
	}
	for _, word := range []string{" days, ", " day, "} {
		if more, found := strings.CutPrefix(rest, word); found {
			if d, rest, ok = clock(more); ok && v < maxDays {
				return d + time.Duration(v)*24*time.Hour, rest, true
			}
			return 0, s, false
		}
	}
	if strings.HasPrefix(rest, "s") {
		return seconds(v), rest[1:], true
	}
	fields := 1
	for strings.HasPrefix(rest, ":") {
		next, more, ok := number(rest[1:])
		if !ok {
			return 0, s, false
		}
		v, rest = v*60+next, more
		fields++
	}
	return seconds(v), rest, fields == 2 || fields == 3
}

// maxDays bounds what may be left: 100 years.
const maxDays = 36500

func seconds(v float64) time.Duration {
	return time.Duration(min(v, maxDays*24*3600) * float64(time.Second))
}

// rate reads how fast it goes: "4.00it/s", "1.50s/it", "33ms/step".
func rate(s string) (perSecond float64, unit string, ok bool) {
	v, rest, ok := counted(s)
	if !ok || v <= 0 {
		return 0, "", false
	}
	rest = strings.TrimPrefix(rest, " ")
	n := 0
	for n < len(rest) && (letter(rest[n]) || rest[n] == '/') {
		n++
	}
	top, below, ok := strings.Cut(rest[:n], "/")
	if !ok || top == "" || below == "" || len(rest[:n]) > 30 {
		return 0, "", false
	}
	switch {
	case below == "s" || below == "sec":
		return v, top, true
	case top == "s":
		return 1 / v, below, true
	case top == "ms":
		return 1000 / v, below, true
	case top == "us" || top == "µs":
		return 1e6 / v, below, true
	}
	return 0, "", false
}

// rateIn is the first rate in s.
func rateIn(s string) (perSecond float64, unit string) {
	for i := 0; i < len(s); i++ {
		if digit(s[i]) && (i == 0 || !digit(s[i-1]) && s[i-1] != '.') {
			if v, unit, ok := rate(s[i:]); ok {
				return v, unit
			}
		}
	}
	return 0, ""
}

// leftIn is the time left that stands behind "eta" in s; below 0: none does.
func leftIn(s string) time.Duration {
	if i := strings.Index(strings.ToLower(s), "eta"); i >= 0 && i+3 <= len(s) && (i == 0 || !letter(s[i-1])) {
		if d, _, ok := clock(strings.TrimLeft(s[i+3:], ": =")); ok {
			return d
		}
	}
	return -1
}

// Package version says which build of Berth this is and which of two is newer.
package version

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// Set by the linker in release builds (see the Makefile); a development build keeps the defaults.
var (
	number = "0.2.0-dev"
	built  = "" // RFC 3339
)

// Capability numbers the protocol between client, daemon and agent. It grows by one in a release that changes the
// protocol:
//
//  1. what the first builds speak, which send no number with their requests;
//  2. requests and answers carry the number; a daemon hands over to a newer one without ending its byte streams;
//  3. a command's arguments are bytes, of any length that a system takes;
//  4. connections are forwarded to what listens on an instance, which is listed.
const Capability = 4

// Served is how many capabilities before its own a build works with, as a client and as a service.
const Served = 3

// Version is one build.
type Version struct {
	Number string    `json:"version"`
	Built  time.Time `json:"built"`
}

// Number returns this build's number.
func Number() string { return number }

// Current returns this build. A development build counts as built when its executable was written.
func Current() Version {
	v := Version{Number: number}
	if t, err := time.Parse(time.RFC3339, built); err == nil {
		v.Built = t.UTC()
		return v
	}
	if exe, err := os.Executable(); err == nil {
		if fi, err := os.Stat(exe); err == nil {
			v.Built = fi.ModTime().UTC().Truncate(time.Second)
		}
	}
	return v
}

// Revision is the source revision that the Go tool recorded, or "".
func Revision() string {
	if bi, ok := debug.ReadBuildInfo(); ok {
		for _, s := range bi.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return ""
}

// Newer reports whether v should replace w: a higher number, or for the same number (development
// builds) a later build. It never holds both ways, so two laptops can't replace each other's agent
// for ever.
func (v Version) Newer(w Version) bool {
	if c := compare(v.Number, w.Number); c != 0 {
		return c > 0
	}
	return v.Built.After(w.Built)
}

// compare orders versions by semver's precedence for MAJOR.MINOR.PATCH; a pre-release comes before
// its release and pre-releases compare as text.
func compare(a, b string) int {
	an, ap, _ := strings.Cut(strings.TrimPrefix(a, "v"), "-")
	bn, bp, _ := strings.Cut(strings.TrimPrefix(b, "v"), "-")
	as, bs := strings.Split(an, "."), strings.Split(bn, ".")
	for i := range 3 {
		x, y := field(as, i), field(bs, i)
		if x != y {
			if x < y {
				return -1
			}
			return 1
		}
	}
	switch {
	case ap == bp:
		return 0
	case ap == "":
		return 1
	case bp == "":
		return -1
	}
	return strings.Compare(ap, bp)
}

func field(s []string, i int) int {
	if i >= len(s) {
		return 0
	}
	n, _ := strconv.Atoi(s[i])
	return n
}

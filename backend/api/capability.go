package api

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"berth/backend/base/version"
)

// CapabilityHeader carries the capability (version.Capability) of whoever sends a request or an answer, and
// VersionHeader its version, for people. A message without them comes from a build of capability 1.
const (
	CapabilityHeader = "Berth-Capability"
	VersionHeader    = "Berth-Version"
)

// side is what a request or an answer says of the build that sent it.
type side struct {
	capability int
	version    string // may be empty
}

func own() side { return side{version.Capability, version.Number()} }

func (s side) String() string {
	if s.version == "" {
		return fmt.Sprintf("an older Berth (capability %d)", s.capability)
	}
	return fmt.Sprintf("Berth %s (capability %d)", s.version, s.capability)
}

// sayVersion puts this build's capability and version into the header of a request or an answer.
func sayVersion(h http.Header) {
	h.Set(CapabilityHeader, strconv.Itoa(version.Capability))
	h.Set(VersionHeader, version.Number())
}

// versionLines is what sayVersion says, as lines of a header that is written by hand.
func versionLines() string {
	h := http.Header{}
	sayVersion(h)
	return VersionLines(h)
}

// VersionLines is what a header says of its sender's version, for one that is written by hand and passed on.
func VersionLines(h http.Header) string {
	out := ""
	for _, k := range []string{CapabilityHeader, VersionHeader} {
		if v := h.Get(k); v != "" {
			out += k + ": " + v + "\r\n"
		}
	}
	return out
}

// ClearVersion takes what sayVersion says out of a header.
func ClearVersion(h http.Header) {
	h.Del(CapabilityHeader)
	h.Del(VersionHeader)
}

func readSide(h http.Header) (side, error) {
	v := h.Get(CapabilityHeader)
	if v == "" {
		return side{capability: 1}, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		return side{}, Errorf(CodeUsage, "the %s header says %.30q, which is no capability", CapabilityHeader, v)
	}
	return side{n, h.Get(VersionHeader)}, nil
}

// tooFar reports whether two builds are too far apart: each works with those of its own capability and of the
// version.Served before it.
func tooFar(a, b side) bool {
	return max(a.capability, b.capability)-min(a.capability, b.capability) > version.Served
}

// always are the paths that are served to every capability, and whose answers are read from every one: with them
// somebody sees what runs, and ends or replaces it.
func always(path string) bool {
	switch path {
	case "/v1/info", "/v1/stop", "/v1/handover", "/v1/daemon/stop", "/v1/daemon/handover":
		return true
	}
	return false
}

const endOlder = "berth daemon stop ends an older daemon (and the commands that run through it); " +
	"an older agent is replaced when a newer Berth connects to its instance"

// checkCaller says why a request can't be served for its caller's version, or nil.
func checkCaller(r *http.Request) error {
	caller, err := readSide(r.Header)
	if err != nil {
		return err
	}
	if always(r.URL.Path) || !tooFar(own(), caller) {
		return nil
	}
	e := Errorf(CodeVersion, "what answers here is %s and can't serve %s", own(), caller)
	if caller.capability < version.Capability {
		return e.WithHint("update the Berth that calls: capability %d is the oldest that is served here",
			max(1, version.Capability-version.Served))
	}
	return e.WithHint("%s", endOlder)
}

// checkAnswer says why an answer can't be understood for the version of whoever sent it, or nil.
func checkAnswer(path string, h http.Header) error {
	service, err := readSide(h)
	if err != nil {
		return err
	}
	if always(path[strings.LastIndex(path, "/v1/"):]) || !tooFar(own(), service) {
		return nil
	}
	e := Errorf(CodeVersion, "this is %s, and what answers is %s: they are too far apart", own(), service)
	if service.capability > version.Capability {
		return e.WithHint("update the Berth that you call with")
	}
	return e.WithHint("%s", endOlder)
}

// checkNeeds says why a service that answered with h can't carry out a request that needs a feature, or nil.
func checkNeeds(needs *Feature, h http.Header) error {
	if needs == nil {
		return nil
	}
	service, err := readSide(h)
	if err != nil {
		return err
	}
	if why := needs.Lacks("what answers", service.capability, service.version); why != "" {
		return Errorf(CodeVersion, "%s", why).WithHint(endOlder)
	}
	return nil
}

// Feature is something that a service has from a capability on.
type Feature struct {
	What  string // as in "WHAT needs …"
	Since int    // the capability
	In    string // the first release that has it, for people
}

// HandOver is that a daemon hands over to a newer one, and goes on carrying its byte streams until they end.
var HandOver = Feature{What: "replacing a daemon that is in use", Since: 2, In: "0.2.0"}

// ExactArguments is that arguments, folder and environment of a command are bytes, of any length that a system takes.
var ExactArguments = Feature{What: "a command that is no UTF-8, or longer than 1 MiB,", Since: 3, In: "0.2.0"}

// Lacks says why what answers under name (as in "the agent of vision") lacks the feature, or "" if it has it. Its
// capability and version are those that it says of itself; a capability of 0 is one that it does not say: 1.
func (f Feature) Lacks(name string, capability int, number string) string {
	if max(1, capability) >= f.Since {
		return ""
	}
	if number != "" {
		number = ", " + number
	}
	return fmt.Sprintf("%s needs Berth %s or newer: %s is older%s", f.What, f.In, name, number)
}

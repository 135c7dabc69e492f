package api

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// HomeHeader says which of Berth's homes a request to an agent comes from: its id and, escaped, its name. Two laptops
// that adopted one machine share its agent, and each leaves with its own parts.
const HomeHeader = "Berth-Home"

// maxHome bounds what is kept of a home's id and name, in bytes.
const maxHome = 100

// Home is one of Berth's homes: one user's Berth on one computer. The zero Home is one that does not say who it is, of
// a build from before.
type Home struct {
	ID   string `json:"id"`
	Name string `json:"name"` // for people: ada@laptop
}

// NewHome is the home with that id on this computer.
func NewHome(id, user string) Home {
	host, _ := os.Hostname() // people know it by its user, too
	name := user + "@" + host
	return Home{ID: id, Name: name[:min(len(name), maxHome)]}
}

// AgentVariable is the environment variable by which what runs on an instance finds its agent: the path of its socket.
const AgentVariable = "BERTH_AGENT"

// InsideID is the id of who asks an agent from within its instance: no home of Berth's, which would share the agent.
const InsideID = "inside"

// SetHome puts a home into the header of a request; the zero one takes it out.
func SetHome(h http.Header, home Home) {
	if home.ID == "" {
		h.Del(HomeHeader)
		return
	}
	h.Set(HomeHeader, home.header())
}

func (h Home) header() string { return url.QueryEscape(h.ID) + " " + url.QueryEscape(h.Name) }

// HomeLine is what SetHome does, as a line of a header that is written by hand; "" for the zero Home.
func HomeLine(h Home) string {
	if h.ID == "" {
		return ""
	}
	return HomeHeader + ": " + h.header() + "\r\n"
}

// HomeOf returns the home that a request comes from.
func HomeOf(h http.Header) Home {
	id, name, _ := strings.Cut(h.Get(HomeHeader), " ")
	var home Home
	var err error
	if home.ID, err = url.QueryUnescape(id); err != nil || len(home.ID) > maxHome {
		return Home{}
	}
	if home.Name, err = url.QueryUnescape(name); err != nil || len(home.Name) > maxHome {
		home.Name = ""
	}
	return home
}

// HomeUse is a home that has used an agent.
type HomeUse struct {
	Home
	SeenAt time.Time `json:"seen_at"`       // to the hour
	Own    bool      `json:"own,omitempty"` // the one that asks
}

// NamelessFor is how long a home counts that does not say who it is: it may be the one that asks, before its upgrade.
const NamelessFor = 7 * 24 * time.Hour

// String names a home for people.
func (u HomeUse) String() string {
	name := u.Name
	if name == "" {
		name = "an older Berth"
	}
	return name + " (last seen " + u.SeenAt.Local().Format(time.DateOnly) + ")"
}

// NamelessUntil is when the last of some homes that do not say who they are counts no longer. ok is false where others
// are among them, or none is.
func NamelessUntil(homes []HomeUse) (until time.Time, ok bool) {
	for _, u := range homes {
		if u.ID != "" {
			return time.Time{}, false
		}
		if end := u.SeenAt.Add(NamelessFor); end.After(until) {
			until = end
		}
	}
	return until, len(homes) > 0
}

// NameHomes names homes for people: those of one user on one computer once, with their number.
func NameHomes(homes []HomeUse) []string {
	var last []HomeUse // of each name the one seen last
	count := map[string]int{}
	for _, u := range homes {
		count[u.Name]++
		switch i := slices.IndexFunc(last, func(o HomeUse) bool { return o.Name == u.Name }); {
		case i < 0:
			last = append(last, u)
		case u.SeenAt.After(last[i].SeenAt):
			last[i] = u
		}
	}
	var out []string
	for _, u := range last {
		s := u.String()
		if n := count[u.Name]; n > 1 {
			s = fmt.Sprintf("%d homes of %s", n, s)
		}
		out = append(out, s)
	}
	return out
}

// LeaveRequest takes a home's own parts from an agent that others use, too.
type LeaveRequest struct {
	Home         string  `json:"home"` // its id
	GraceSeconds float64 `json:"grace_seconds,omitempty"`
}

// LeaveAnswer says who else uses the agent. Where nobody does, nothing was done: the agent may be removed.
type LeaveAnswer struct {
	Others []HomeUse `json:"others"`
}

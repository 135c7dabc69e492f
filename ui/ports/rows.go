package ports

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"berth/backend/api"
	"berth/backend/transport/forward"
	"berth/ui/list"
)

// row is one thing that listens.
type row struct{ *api.Port }

func (r row) id() string { return r.what() + "@" + strings.Join(r.Addresses, " ") }

// what is the port, or the path of the socket.
func (r row) what() string {
	if r.Socket != "" {
		return r.Socket
	}
	return strconv.Itoa(r.Port.Port)
}

func (r row) target() forward.Target {
	if r.Socket != "" {
		return forward.Target{Socket: r.Socket}
	}
	return forward.Target{Port: r.Port.Port}
}

// at says where it can be reached from.
func (r row) at() string {
	if len(r.Addresses) == 0 {
		return ""
	}
	loopback := 0
	for _, a := range r.Addresses {
		switch a {
		case "0.0.0.0", "::":
			return "everywhere"
		case "127.0.0.1", "::1":
			loopback++
		}
	}
	if loopback == len(r.Addresses) {
		return "loopback"
	}
	if n := len(r.Addresses) - 1; n > 0 {
		return r.Addresses[0] + " +" + strconv.Itoa(n)
	}
	return r.Addresses[0]
}

// owner is whose it is, in words; "" for a stranger's.
func (r row) owner() string {
	o := r.Owner
	id := o.ID
	if o.Kind == "container" {
		id = cmp.Or(o.Name, id)
	}
	return strings.TrimSpace(o.Kind + " " + id)
}

// lay lists those that match, in order.
func (s *Ports) lay() {
	match := list.Match(s.Words())
	s.rows = s.rows[:0]
	for _, r := range append(slices.Clip(s.all), s.left()...) {
		if match == nil || match(r.what(), strings.Join([]string{r.what(), r.at(), strconv.Itoa(r.PID), r.User, r.owner(),
			r.Command, r.Note}, " ")) {
			s.rows = append(s.rows, r)
		}
	}
	by := map[string]func(row) string{"user": func(r row) string { return r.User }, "owner": row.owner,
		"command": func(r row) string { return r.Command }}[s.Sort]
	if by != nil { // they come in the order of their ports
		slices.SortStableFunc(s.rows, func(a, b row) int { return cmp.Compare(by(a), by(b)) })
	}
	if s.Down {
		slices.Reverse(s.rows)
	}
	s.widest = widths{}
	for _, r := range s.rows {
		grow(&s.widest.at, r.at())
		grow(&s.widest.user, r.User)
		grow(&s.widest.owner, r.owner())
		grow(&s.widest.pid, strconv.Itoa(r.PID))
	}
}

// left are the forwards to what does not listen any more: they are there, and can be ended.
func (s *Ports) left() []row {
	if s.e.Forwards == nil || !s.loaded {
		return nil
	}
	var out []row
	for _, f := range s.e.Forwards.Of(s.id) {
		if !slices.ContainsFunc(s.all, func(r row) bool { return r.target() == f.Target }) {
			out = append(out, row{&api.Port{Port: f.Target.Port, Socket: f.Target.Socket, Note: "nothing listens there now"}})
		}
	}
	return out
}

// here is the forward of a row, or nil.
func (s *Ports) here(r *row) *forward.Here {
	if s.e.Forwards == nil {
		return nil
	}
	for _, f := range s.e.Forwards.Of(s.id) {
		if f.Target == r.target() {
			return &f
		}
	}
	return nil
}

package daemon

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"

	"berth/backend/api"
)

// snapshotBatch is how many instances one line of the snapshot carries: the first is drawn while the
// rest is still read.
const snapshotBatch = 250

// watch streams the fleet and its changes.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	defer s.ws.Reconciler.Watch(r.Context())()
	sub, all := s.ws.Subscribe()
	defer sub.Close()
	all = s.ws.Seen(r.Context(), all)
	out := api.NewNDJSON(w)
	for first := true; first || len(all) > 0; first = false {
		n := min(len(all), snapshotBatch)
		if out.Write(api.Change{Snapshot: all[:n], Complete: n == len(all)}) != nil {
			return
		}
		all = all[n:]
	}
	for {
		changes := sub.Next(r.Context())
		if changes == nil {
			return
		}
		for _, c := range s.ws.For(r.Context(), changes) {
			if out.Write(c) != nil {
				return
			}
		}
	}
}

// operation answers with one operation, or follows it until it is done.
func (s *Server) operation(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	follow, err := boolean(r.URL.Query().Get("follow"), "follow")
	if err != nil {
		api.WriteError(w, err)
		return
	}
	sub := s.ws.SubscribeEvents() // before the first look, so that no change is missed
	defer sub.Close()
	op, err := s.ws.Operation(r.Context(), id)
	if err == nil && !s.ws.MaySee(r.Context(), op.InstanceID) {
		err = api.Errorf(api.CodeForbidden, "operation %s is of an instance that you may not see", id)
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	if !follow {
		api.WriteJSON(w, http.StatusOK, op)
		return
	}
	out := api.NewNDJSON(w)
	if out.Write(op) != nil {
		return
	}
	for !op.State.Done() {
		changes := sub.Next(r.Context())
		if changes == nil {
			return
		}
		for _, c := range changes {
			if c.Operation == nil || c.Operation.ID != id {
				continue
			}
			op = *c.Operation
			if out.Write(op) != nil || op.State.Done() {
				return
			}
		}
	}
}

// subject is the id of an instance that events are asked of by its name; it may be gone.
func (s *Server) subject(ctx context.Context, name string) (string, error) {
	rec, unknown := s.ws.Record(name)
	if unknown == nil {
		return rec.ID, nil
	}
	last, err := s.ws.Events(ctx, api.EventOptions{Instance: name, Limit: 1})
	if err != nil || len(last) == 0 {
		return "", cmp.Or(err, unknown)
	}
	return last[0].InstanceID, nil
}

// events answers with recorded events, or with these and then new ones.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	o := api.EventOptions{Instance: q.Get("instance")}
	follow, err := boolean(q.Get("follow"), "follow")
	for name, dst := range map[string]func(int64){"since": func(n int64) { o.Since = n },
		"limit": func(n int64) { o.Limit = int(n) }} {
		if v := q.Get(name); v != "" && err == nil {
			n, perr := strconv.ParseInt(v, 10, 64)
			if perr != nil || n < 0 {
				err = api.Errorf(api.CodeUsage, "%s=%q is not a number", name, v)
				break
			}
			dst(n)
		}
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	id := ""
	if o.Instance != "" { // from here on it is meant whatever becomes of its name
		if id, err = s.subject(r.Context(), o.Instance); err != nil {
			api.WriteError(w, err)
			return
		}
		o.Instance = id
	}
	sub := s.ws.SubscribeEvents()
	defer sub.Close()
	past, err := s.ws.Events(r.Context(), o)
	past = slices.DeleteFunc(past, func(e api.Event) bool { return !s.ws.MaySee(r.Context(), e.InstanceID) })
	if err != nil {
		api.WriteError(w, err)
		return
	}
	if !follow {
		api.WriteJSON(w, http.StatusOK, past)
		return
	}
	out := api.NewNDJSON(w)
	last := o.Since
	for _, e := range past {
		if out.Write(e) != nil {
			return
		}
		last = e.Seq
	}
	for {
		changes := sub.Next(r.Context())
		if changes == nil {
			return
		}
		for _, c := range s.ws.For(r.Context(), changes) {
			if c.Event == nil || c.Event.Seq <= last || (id != "" && c.Event.InstanceID != id) {
				continue
			}
			if out.Write(c.Event) != nil {
				return
			}
			last = c.Event.Seq
		}
	}
}

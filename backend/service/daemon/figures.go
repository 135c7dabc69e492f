package daemon

import (
	"context"
	"errors"
	"net/http"
	"time"

	"berth/backend/api"
	"berth/gpu/prom"
)

// figures streams the fleet's figures.
func (s *Server) figures(w http.ResponseWriter, r *http.Request) {
	every := time.Second
	if v := r.URL.Query().Get("every"); v != "" {
		var err error
		if every, err = time.ParseDuration(v); err != nil || every < 0 {
			api.WriteError(w, api.Errorf(api.CodeUsage, "every=%.30q is no time, such as 2s", v))
			return
		}
	}
	out := api.NewNDJSON(w)
	_ = s.fleet.Watch(r.Context(), every, func(batch []api.FleetFigures) error { // it ends with its client
		for _, f := range batch {
			if !s.ws.MaySee(r.Context(), f.Instance) {
				continue
			}
			if err := out.Write(f); err != nil {
				return err
			}
		}
		return nil
	})
}

// metricsLimit is how long an instance may take to give its figures for the fleet's.
const metricsLimit = 5 * time.Second

func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), metricsLimit)
	defer cancel()
	targets := s.fleet.Samples(ctx, func(id string) bool { return s.ws.MaySee(r.Context(), id) })
	w.Header().Set("Content-Type", prom.ContentType)
	_ = prom.Write(w, targets) // the client has gone
}

func (s *Server) attend(ctx context.Context, r *http.Request) (any, error) {
	var q api.AttentionRequest
	if err := api.ReadJSON(r, &q); err != nil {
		return nil, err
	}
	rec, err := s.ws.Record(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	found := s.fleet.Finding(rec.ID, q.Finding)
	f, ok := found[rec.ID]
	if !ok {
		return nil, api.Errorf(api.CodeNotFound, "nothing is found of %s that is called %q", rec.Name, q.Finding)
	}
	if err := s.ws.Attend(ctx, rec.ID, f, q); err != nil {
		return nil, err
	}
	delete(found, rec.ID)
	for id, f := range found { // the same finding, of others on the same host
		if aerr := s.ws.Attend(ctx, id, f, q); aerr != nil && api.AsError(aerr).Code != api.CodeNotFound {
			err = errors.Join(err, aerr)
		}
	}
	s.fleet.Again(rec.ID)
	return nil, err
}

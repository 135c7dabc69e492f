package daemon

import (
	"errors"
	"net/http"

	"berth/backend/api"
)

// gate is the one door of the API: it says who calls, and asks the workspace whether they may do what the route needs.
// From here on the instance is named by its id: what was decided about is what is acted on.
func (s *Server) gate(r *http.Request, route *api.Route) (*http.Request, error) {
	ctx, err := s.caller(r)
	if err != nil {
		return nil, err
	}
	var in *api.Instance
	if route.OnInstance() {
		rec, err := s.ws.Record(r.PathValue("name"))
		if errors.Is(err, &api.Error{Code: api.CodeNotFound}) { // it may have come since somebody looked
			s.ws.Reconciler.Fresh(ctx)
			rec, err = s.ws.Record(r.PathValue("name"))
		}
		if err != nil {
			return nil, err
		}
		in = &rec.Instance
		r.SetPathValue("name", rec.ID)
	}
	for _, a := range route.Needs {
		if err := s.ws.May(ctx, a, in); err != nil {
			return nil, err
		}
	}
	s.ws.Called(ctx)
	return r.WithContext(ctx), nil
}

package daemon

import (
	"context"
	"net/http"

	"berth/backend/api"
)

func (s *Server) setup(ctx context.Context, r *http.Request) (any, error) {
	var q api.SetupRequest
	if err := api.ReadJSON(r, &q); err != nil {
		return nil, err
	}
	return s.ws.Setups.Begin(ctx, r.PathValue("name"), q)
}

func (s *Server) snapshots(ctx context.Context, r *http.Request) (any, error) {
	return s.ws.Snapshots.List(ctx, r.PathValue("name"))
}

func (s *Server) snapshot(ctx context.Context, r *http.Request) (any, error) {
	var q api.SnapshotRequest
	if err := api.ReadJSON(r, &q); err != nil {
		return nil, err
	}
	return s.ws.Snapshots.Take(ctx, r.PathValue("name"), q)
}

func (s *Server) restore(ctx context.Context, r *http.Request) (any, error) {
	var q api.SnapshotRequest
	if err := api.ReadJSON(r, &q); err != nil {
		return nil, err
	}
	q.Name = r.PathValue("snapshot")
	return s.ws.Snapshots.Restore(ctx, r.PathValue("name"), q)
}

func (s *Server) deleteSnapshot(ctx context.Context, r *http.Request) (any, error) {
	return nil, s.ws.Snapshots.Delete(ctx, r.PathValue("name"), r.PathValue("snapshot"))
}

func (s *Server) buildImage(ctx context.Context, r *http.Request) (any, error) {
	var q api.ImageRequest
	if err := api.ReadJSON(r, &q); err != nil {
		return nil, err
	}
	return s.ws.Images.Build(ctx, q)
}

func (s *Server) deleteImage(ctx context.Context, r *http.Request) (any, error) {
	return nil, s.ws.Images.Delete(ctx, r.PathValue("backend"), r.PathValue("name"))
}

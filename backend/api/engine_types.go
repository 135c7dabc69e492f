package api

import (
	"context"
	"net/http"
)

// EngineRequest brings the program that runs containers to an instance. Said to the workspace it has no program: that
// has one.
type EngineRequest struct {
	Program []byte `json:"program,omitempty"` // compressed (zstd)
}

// EngineAnswer is the answer.
type EngineAnswer struct {
	Protocol int `json:"protocol"` // that the agent and the program speak
}

// PutEngine brings the program that runs containers, or has the workspace bring it where there is none in the request.
func (c JobsClient) PutEngine(ctx context.Context, q EngineRequest) (EngineAnswer, error) {
	var v EngineAnswer
	return v, c.call(ctx, http.MethodPost, "/v1/engine", q, &v)
}

package daemon

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent"
	"berth/backend/api/openapi"
)

//go:generate go run ./internal/describe ../../../assets/openapi.json

// TestDescriptionIsCurrent fails where routes or documents changed and go generate was not run.
func TestDescriptionIsCurrent(t *testing.T) {
	want, err := openapi.Describe("Berth", "1", openapi.Service{Tag: "workspace", Routes: new(Server).Routes()},
		openapi.Service{Tag: "agent", Prefix: "/v1/instances/{name}/agent", Routes: agent.Routes()})
	require.NoError(t, err)
	have, err := os.ReadFile("../../../assets/openapi.json")
	require.NoError(t, err)
	require.Equal(t, string(want)+"\n", string(have), "run go generate ./backend/service/daemon")
}

package copy

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/part"
	"berth/backend/agent/server"
	"berth/backend/agent/server/servertest"
	"berth/backend/api"
	"berth/backend/transport/filecopy"
)

func TestMain(m *testing.M) { servertest.Main(m) }

func serve(t *testing.T, parts ...func(*part.Host) part.Part) (part.Options, *api.AgentClient) {
	t.Helper()
	o := agenttest.Options(t)
	_, c := servertest.Serve(t, server.Config{Options: o, Parts: parts})
	return o, c
}

// TestCopyBothWays: relative paths are below the home folder, and so is "~".
func TestCopyBothWays(t *testing.T) {
	o, c := serve(t, New)
	here := t.TempDir()
	require.NoError(t, os.WriteFile(here+"/a", []byte("hello"), 0o600))
	for to, at := range map[string]string{"x": "x", "~/y": "y", "~": "a", o.Home + "/z": "z"} {
		st, err := c.OpenCopy(t.Context(), api.CopyRequest{To: []byte(to)})
		require.NoError(t, err)
		_, err = (&filecopy.Sender{Source: here + "/a"}).Send(t.Context(), st)
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(o.Home, at))
		require.NoError(t, err)
		require.Equal(t, "hello", string(b))

		st, err = c.OpenCopy(t.Context(), api.CopyRequest{Send: []byte(at), Count: true})
		require.NoError(t, err)
		back := t.TempDir()
		r, err := (&filecopy.Receiver{Target: back + "/b", Name: at}).Receive(context.Background(), st)
		require.NoError(t, err)
		require.Equal(t, filecopy.Result{Files: 1, Bytes: 5}, r)
	}
}

// TestWrongRequests are refused.
func TestWrongRequests(t *testing.T) {
	_, c := serve(t, New)
	for _, q := range []api.CopyRequest{{}, {Send: []byte("a"), To: []byte("b")}} {
		st, err := c.OpenCopy(t.Context(), q)
		require.NoError(t, err)
		_, err = (&filecopy.Receiver{Target: t.TempDir()}).Receive(t.Context(), st)
		require.Equal(t, api.CodeUsage, api.AsError(err).Code, err)
	}
}

// TestOlderAgent has no such part, and it is said what to do.
func TestOlderAgent(t *testing.T) {
	_, c := serve(t)
	_, err := c.OpenCopy(t.Context(), api.CopyRequest{Send: []byte("a")})
	require.Equal(t, api.CodeVersion, api.AsError(err).Code)
	require.ErrorContains(t, err, "older than this Berth")
	require.Contains(t, api.AsError(err).Hint, "updated")
}

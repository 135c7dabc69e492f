package job

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/part"
	"berth/backend/api"
)

// compressed is a program as it comes.
func compressed(t *testing.T, program []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	defer z.Close()
	return z.EncodeAll(program, nil)
}

// TestTheEngineIsBrought: the small agent has none until it comes; what can't be run here, or speaks otherwise, is not
// taken.
func TestTheEngineIsBrought(t *testing.T) {
	o := agenttest.Options(t)
	require.NoError(t, os.MkdirAll(o.State, 0o700))
	s := &service{h: &part.Host{Options: o, Exe: "/somewhere/berth-agent"}}
	_, err := s.h.EngineCommand("version")
	require.ErrorIs(t, err, &api.Error{Code: api.CodeNoEngine})

	require.Error(t, s.takeEngine(t.Context(), nil))
	require.Error(t, s.takeEngine(t.Context(), []byte("no zstd")))
	require.ErrorContains(t, s.takeEngine(t.Context(), compressed(t, []byte("no program"))), "can't be run here")
	require.ErrorIs(t, s.takeEngine(t.Context(), compressed(t, []byte("#!/bin/sh\necho 99\n"))),
		&api.Error{Code: api.CodeVersion})
	_, err = s.h.EngineCommand("version")
	require.ErrorIs(t, err, &api.Error{Code: api.CodeNoEngine}, "nothing of that counts")

	path := filepath.Join(t.TempDir(), "berth-engine")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "berth/cmd/berth-engine")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	program, err := os.ReadFile(path)
	require.NoError(t, err)
	packed := compressed(t, program)
	require.Less(t, len(packed), 6<<20, "it is copied to instances")
	require.NoError(t, s.takeEngine(t.Context(), packed))
	argv, err := s.h.EngineCommand("version")
	require.NoError(t, err)
	said, err := exec.Command(argv[0], argv[1:]...).Output()
	require.NoError(t, err)
	require.Equal(t, "1\n", string(said))

	s.h.Exe = "/somewhere/berth" // any other program plays it itself
	argv, err = s.h.EngineCommand("run", "x")
	require.NoError(t, err)
	require.Equal(t, []string{"/somewhere/berth", "agent", "engine", "run", "x"}, argv)
}

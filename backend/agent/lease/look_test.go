package lease

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/user"
	"berth/backend/api"
)

// TestLook says which folder is used, and makes and changes none.
func TestLook(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "leases")
	look := func(candidates ...string) (api.GPUSharing, api.Check) {
		s := Look(candidates)
		return s, s.Check("gpus", "vision")
	}
	s, c := look(Made, filepath.Join(dir, "none", "x"), at)
	if _, err := os.Stat(Made); err == nil {
		t.Skip("an administrator has made " + Made)
	}
	require.Equal(t, []string{at, api.SharingMissing}, []string{s.Folder, s.State})
	require.NoDirExists(t, at)
	require.Equal(t, "info", c.Status)
	require.Contains(t, c.Message, at+", which the first job with a GPU makes; that is advice")
	require.Contains(t, c.Fix, "sudo mkdir -p -m 1777 /var/lib/berth/host")

	f, err := Open([]string{at})
	require.NoError(t, err)
	s, c = look(at)
	require.Equal(t, api.GPUSharing{Folder: f.Dir(), State: api.SharingFound, Owner: user.Name(), Fix: makeMade}, s)
	require.Contains(t, c.Message, "which "+user.Name()+" made")

	require.NoError(t, os.Chmod(at, 0o700))
	s, c = look(at)
	require.Equal(t, "warn", c.Status)
	require.Contains(t, c.Message, at+" can't be used by all (drwx------)")
	require.Contains(t, c.Fix, "chmod 1777 "+at)
	fi, err := os.Stat(at)
	require.NoError(t, err)
	require.EqualValues(t, 0o700, fi.Mode().Perm(), "it is as it was")
	require.Equal(t, api.SharingUnusable, s.State)

	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	s, _ = look(file)
	require.Contains(t, s.Problem, "is no folder")
	require.Contains(t, s.Fix, "sudo rm "+file)
	s, c = look(filepath.Join(dir, "none", "x"))
	require.Equal(t, api.SharingUnusable, s.State)
	require.True(t, strings.HasPrefix(c.Message, "users of this host can't share its GPUs: "), c.Message)

	made := api.GPUSharing{Folder: Made, State: api.SharingMade}
	require.Equal(t, api.Check{Area: "host", Name: "shared GPUs", Status: "ok", Message: "users share its GPUs through " + Made +
		"; that is advice: a program that asks nobody can use any GPU"}, made.Check("host", "shared GPUs"))
}

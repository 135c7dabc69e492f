package container

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWhatIsKept: there is nothing before it is written, it is read as it was written, and what a newer program wrote,
// or what is torn, is not taken for anything.
func TestWhatIsKept(t *testing.T) {
	dir := t.TempDir()
	_, ok, err := ReadProgress(dir)
	require.NoError(t, err)
	require.False(t, ok)
	p := Progress{Host: "unix:///s", LogStart: 7, Started: true}
	require.NoError(t, p.Write(dir))
	got, ok, err := ReadProgress(dir)
	require.NoError(t, err)
	require.True(t, ok)
	p.Version = filesVersion
	require.Equal(t, p, got)
	for _, text := range []string{`{"version":2}`, `{"exit":0}`, `{`, ``} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, resultName), []byte(text), 0o600))
		_, ok, err := ReadResult(dir)
		require.Error(t, err, text)
		require.False(t, ok, text)
	}
	require.False(t, Ready(dir, os.Getpid()))
	require.NoError(t, SayReady(dir))
	require.True(t, Ready(dir, os.Getpid()))
	require.False(t, Ready(dir, os.Getpid()+1))
}

// TestGiven: what the container gets is apart from the program's own variables, whatever the two are called.
func TestGiven(t *testing.T) {
	env := []string{"PATH=/x", "A=b=c", "E=", "BERTH_GIVEN_X=1"}
	all := Give([]string{"PATH=/bin", "HOME=/h"}, env)
	require.Equal(t, env, Given(all))
	require.Contains(t, all, "PATH=/bin")
}

func FuzzSpec(f *testing.F) {
	b, err := json.Marshal(Spec{Name: "berth-1.1.ab", Image: "x", GPUs: []string{"GPU-1"}})
	require.NoError(f, err)
	f.Add(string(b))
	f.Fuzz(func(t *testing.T, arg string) {
		s, err := ParseSpec(arg)
		if err != nil {
			return
		}
		args, err := s.Args(WordRun, []string{"a", "b"})
		require.NoError(t, err)
		again, err := ParseSpec(args[1])
		require.NoError(t, err)
		require.Equal(t, s.Name, again.Name)
	})
}

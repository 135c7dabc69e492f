package seen

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhatWasSeenIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seen.json")
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	a, b := Open(path), Open(path)
	_, ok := a.Last("x")
	require.False(t, ok)
	a.Note("x", Mark{"one", 12, now})
	a.Note("y", Mark{"one", 3, now})
	b.Note("x", Mark{"one", 9, now}) // another dashboard, that saw less
	b.Note("z", Mark{"two", 1, now.Add(-2 * keep)})
	require.NoError(t, b.Write())
	require.NoError(t, a.Write())
	require.NoError(t, b.Write(), "it has nothing new")
	c := Open(path)
	m, ok := c.Last("x")
	require.True(t, ok)
	require.Equal(t, Mark{"one", 12, now}, m)
	_, ok = c.Last("z")
	require.False(t, ok, "nobody has looked at it for years")
	c.Note("x", Mark{"anew", 1, now})
	require.NoError(t, c.Write())
	m, _ = Open(path).Last("x")
	require.Equal(t, "anew", m.Epoch, "its journal was made anew")

	require.NoError(t, os.WriteFile(path, []byte("garbage"), 0o600))
	d := Open(path)
	d.Note("x", Mark{"one", 1, now})
	require.NoError(t, d.Write())
	require.NoError(t, os.WriteFile(path, []byte(`{"version":2}`), 0o600))
	e := Open(path)
	e.Note("x", Mark{"one", 1, now})
	require.ErrorContains(t, e.Write(), "version 2")
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, `{"version":2}`, string(kept))
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":1,"instances":{"i":{"epoch":"a","seq":3}}}`))
	f.Add([]byte(`{"version":1,"instances":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := parse(b); err == nil && c.Instances == nil {
			t.Fatal("nothing could be noted")
		}
	})
}

package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

func open(t *testing.T, path string) *SQLite {
	t.Helper()
	s, err := Open(t.Context(), path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func instance(id, name string) Instance {
	return Instance{Instance: api.Instance{ID: id, Name: name, Backend: "local", State: api.StateRunning,
		Tags: map[string]string{"k": "v"}}, Token: "tok-" + id}
}

func TestCorruptedStoreIsSaidAndKept(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"not a database": func([]byte) []byte { return []byte(strings.Repeat("garbage ", 4096)) },
		"pages spoiled": func(b []byte) []byte {
			for i := 4096; i < len(b); i++ {
				b[i] = 0xa5
			}
			return b
		},
		"cut": func(b []byte) []byte { return b[:len(b)/2] },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			s := open(t, path)
			for i := range 50 {
				require.NoError(t, s.Apply(t.Context(),
					&Change{Instances: []Instance{instance(fmt.Sprint("i", i), fmt.Sprint("name-", i))}}))
			}
			require.NoError(t, s.Close())
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			b = spoil(b)
			require.NoError(t, os.WriteFile(path, b, 0o600))
			s2, err := Open(t.Context(), path)
			if err == nil {
				defer s2.Close()
				_, err = s2.Instances(t.Context())
			}
			require.Error(t, err)
			e := api.AsError(err)
			require.Equal(t, api.CodeStore, e.Code)
			require.Contains(t, e.Hint, ".broken")
			kept, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Len(t, kept, len(b))
		})
	}
}

func BenchmarkApply(b *testing.B) {
	s, err := Open(b.Context(), filepath.Join(b.TempDir(), "x.db"))
	require.NoError(b, err)
	defer s.Close()
	for i := 0; b.Loop(); i++ {
		require.NoError(b, s.Apply(b.Context(),
			&Change{Instances: []Instance{instance(fmt.Sprint("i", i), fmt.Sprint("n", i))}}))
	}
}

func BenchmarkLoad10k(b *testing.B) {
	s, err := Open(b.Context(), filepath.Join(b.TempDir(), "x.db"))
	require.NoError(b, err)
	defer s.Close()
	var c Change
	for i := range 10_000 {
		c.Instances = append(c.Instances, instance(fmt.Sprint("i", i), fmt.Sprint("n", i)))
	}
	require.NoError(b, s.Apply(b.Context(), &c))
	for b.Loop() {
		got, err := s.Instances(b.Context())
		require.NoError(b, err)
		require.Len(b, got, 10_000)
	}
}

package store_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/service/store"
	"berth/backend/service/store/storetest"
)

// open opens the store of a folder.
func open(t *testing.T, dir string) store.Store {
	s, err := store.Open(t.Context(), filepath.Join(dir, "a b?#.db")) // characters that mean something in a URL
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestSQLite(t *testing.T) { storetest.Run(t, open) }

// TestSlowSQLite: on a disk that takes its time nothing is other.
func TestSlowSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T, dir string) store.Store {
		s := storetest.NewSlow(open(t, dir))
		s.Delay = time.Millisecond
		return s
	})
}

// TestFailingSQLite: where every other transaction fails, and is tried again, nothing is other.
func TestFailingSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T, dir string) store.Store { return storetest.Stubborn(open(t, dir)) })
}

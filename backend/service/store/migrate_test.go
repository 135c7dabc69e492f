package store

import (
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/queue/sqlfile"
)

// moreMigrations are those of this build and two of later ones.
func moreMigrations(t *testing.T) []sqlfile.Migration {
	ms, err := migrations()
	require.NoError(t, err)
	n := len(ms)
	return append(ms, sqlfile.Migration{Version: n + 1, Name: "more", SQL: "" +
		"ALTER TABLE instances ADD COLUMN owner TEXT NOT NULL DEFAULT ''; " +
		"UPDATE instances SET owner = 'me'"},
		sqlfile.Migration{Version: n + 2, Name: "moved", SQL: "CREATE TABLE moved AS " +
			"SELECT * FROM instances; DROP TABLE events; CREATE TABLE events (seq INTEGER)"})
}

// storeOf makes a store with an instance as the build with these migrations does, and leaves it as a daemon that ended,
// or one that was killed (its last writes are in the WAL).
func storeOf(t *testing.T, ms []sqlfile.Migration, killed bool) (path string) {
	path = filepath.Join(t.TempDir(), "x.db")
	s, err := openWith(t.Context(), path, ms)
	require.NoError(t, err)
	add(t, s, "i1", "vision")
	if killed {
		dir := t.TempDir()
		for _, suffix := range []string{"", "-wal", "-shm"} {
			b, err := os.ReadFile(path + suffix)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "x.db"+suffix), b, 0o600))
		}
		path = filepath.Join(dir, "x.db")
	}
	require.NoError(t, s.Close())
	return path
}

// add writes an instance as a build of any version does.
func add(t *testing.T, s *SQLite, id, name string) {
	_, err := s.db.ExecContext(t.Context(),
		`INSERT INTO instances (id, name_key, backend, doc) VALUES (?, ?, 'local', json_object('id', ?, 'name', ?))`, id, name,
		id, name)
	require.NoError(t, err)
}

// names are those of the instances in a store of any version.
func names(t *testing.T, s *SQLite) string {
	var all string
	require.NoError(t, s.db.QueryRowContext(t.Context(),
		"SELECT group_concat(name_key, ' ') FROM (SELECT name_key FROM instances ORDER BY id)").Scan(&all))
	return all
}

// files are the files of a folder and what is in them.
func files(t *testing.T, dir string) map[string]string {
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if out[d.Name()] = string(b); strings.HasSuffix(path, "-shm") {
			out[d.Name()] = "the WAL's index, which anybody makes anew"
		}
		return err
	}))
	return out
}

// TestMigratesFromEachOlderVersion opens a store of each version, which is copied before it is changed: the build that
// wrote it can go on with the copy.
func TestMigratesFromEachOlderVersion(t *testing.T) {
	ms, err := migrations()
	require.NoError(t, err)
	for v := 1; v <= len(ms); v++ {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprint("from ", v, " killed ", killed), func(t *testing.T) {
				path := storeOf(t, ms[:v], killed)
				s := open(t, path)
				got, err := s.Instances(t.Context())
				require.NoError(t, err)
				require.Len(t, got, 1)
				require.Equal(t, "vision", got[0].Name)
				require.EqualValues(t, 1, got[0].Revision)
				var have int
				require.NoError(t, s.db.QueryRow("PRAGMA user_version").Scan(&have))
				require.Equal(t, len(ms), have)
				if v == len(ms) {
					require.NoFileExists(t, sqlfile.CopyPath(path, v), "nothing is changed")
					return
				}
				fi, err := os.Stat(sqlfile.CopyPath(path, v))
				require.NoError(t, err)
				require.Equal(t, fs.FileMode(0o600), fi.Mode())
				old, err := openWith(t.Context(), sqlfile.CopyPath(path, v), ms[:v])
				require.NoError(t, err)
				defer old.Close()
				require.Equal(t, "vision", names(t, old))
			})
		}
	}
}

// TestAMigrationIsAllOrNothing fails at each migration from each older version: the old build goes on with the store,
// and a later attempt succeeds.
func TestAMigrationIsAllOrNothing(t *testing.T) {
	all := moreMigrations(t)
	for have := 1; have < len(all); have++ {
		for fails := have; fails < len(all); fails++ {
			t.Run(fmt.Sprintf("from %d, fails at %d", have, fails+1), func(t *testing.T) {
				path := storeOf(t, all[:have], false)
				broken := append([]sqlfile.Migration{}, all...)
				broken[fails].SQL += "; SELECT nonsense"
				_, err := openWith(t.Context(), path, broken)
				require.ErrorContains(t, err, "migration "+broken[fails].Name)
				require.Equal(t, api.CodeStore, api.AsError(err).Code)
				old, err := openWith(t.Context(), path, all[:have])
				require.NoError(t, err)
				require.Equal(t, "vision", names(t, old))
				// It goes on, so the copy of the next attempt is another.
				add(t, old, "i2", "second")
				require.NoError(t, old.Close())
				next, err := openWith(t.Context(), path, all)
				require.NoError(t, err)
				require.NoError(t, next.Close())
				was, err := openWith(t.Context(), sqlfile.CopyPath(path, have), all[:have])
				require.NoError(t, err)
				defer was.Close()
				require.Equal(t, "vision second", names(t, was))
				copies, err := filepath.Glob(path + ".version-*")
				require.NoError(t, err)
				copied := sqlfile.CopyPath(path, have)
				require.Subset(t, []string{copied, copied + "-wal", copied + "-shm"}, copies,
					"one copy of a version, and no half ones")
			})
		}
	}
}

// TestNewerStoreIsRefusedUntouched: not a byte is changed and no file is left, whether the newer build's daemon ended
// or was killed.
func TestNewerStoreIsRefusedUntouched(t *testing.T) {
	all := moreMigrations(t)
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprint("killed ", killed), func(t *testing.T) {
			path := storeOf(t, all, killed)
			before := files(t, filepath.Dir(path))
			_, err := Open(t.Context(), path)
			require.ErrorContains(t, err, fmt.Sprintf("has version %d, this Berth knows up to %d", len(all), len(all)-2))
			require.Equal(t, api.CodeStore, api.AsError(err).Code)
			require.NotEmpty(t, api.AsError(err).Hint)
			require.Equal(t, before, files(t, filepath.Dir(path)))
		})
	}
}

// TestReadersDoNotWaitForAWriter reads what clients ask for while a transaction is open.
func TestReadersDoNotWaitForAWriter(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"))
	op := Operation{Operation: api.Operation{ID: "op-1", State: api.OpRunning, CreatedAt: time.Now()}}
	require.NoError(t, s.Apply(t.Context(), &Change{Operations: []Operation{op},
		Events: []*api.Event{{Time: time.Now(), Message: "made"}}}))
	tx, err := s.db.BeginTx(t.Context(), &sql.TxOptions{})
	require.NoError(t, err)
	_, err = tx.Exec("DELETE FROM operations")
	require.NoError(t, err)
	_, err = s.Operation(t.Context(), "op-1")
	require.NoError(t, err)
	evs, err := s.Events(t.Context(), EventQuery{})
	require.NoError(t, err)
	require.Len(t, evs, 1)
	require.NoError(t, tx.Rollback())
	_, err = s.read.Exec("DELETE FROM operations")
	require.ErrorContains(t, err, "readonly")
}

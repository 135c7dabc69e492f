package store_test

import (
	"cmp"
	"compress/gzip"
	"database/sql"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/service/store"
)

// unzipped unpacks a store of the test data.
func unzipped(t *testing.T, name string) (path string) {
	f, err := os.Open(filepath.Join("testdata", name))
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	b, err := io.ReadAll(z)
	require.NoError(t, err)
	path = filepath.Join(t.TempDir(), "x.db")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

// TestStoreOfVersion2: what features keep stood in the instance's document there. It is read from documents of its own,
// nothing of it is lost, and what is written then is of the revisions that were read.
func TestStoreOfVersion2(t *testing.T) {
	path := unzipped(t, "version-2.db.gz")
	s, err := store.Open(t.Context(), path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	ins, _, err := store.Load(t.Context(), s)
	require.NoError(t, err)
	require.Len(t, ins, 3)
	slices.SortFunc(ins, func(a, b store.Instance) int { return cmp.Compare(a.ID, b.ID) })
	full, plain, script := ins[0], ins[1], ins[2]
	at := time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)
	require.Equal(t, store.Setups{Revision: 1, SetupID: "op-9", SetupProfiles: []string{"cuda=12.4"}, SetupScript: true,
		SetupFailed: "cuda: \"no\" space\n資料", Unfinished: []store.Setup{{ID: "op-5", Profiles: []string{"r"},
			Failed: "no net"}, {ID: "op-6", Script: true, Failed: "3"}}}, full.Setups)
	require.Equal(t, store.Attention{Revision: 1, Told: map[string]time.Time{"hot/0": at},
		Acknowledged: map[string]time.Time{"disk-full//": at.Add(time.Hour)},
		Muted:        map[string]time.Time{"hot": at.Add(2 * time.Hour)}}, full.Attention)
	require.EqualValues(t, 1, full.Idle.Revision)
	require.Equal(t, at, full.IdleDay.Until)
	require.Contains(t, full.IdleDay.GPUs, "GPU-1")
	require.EqualValues(t, 1, full.Figures.Revision)
	require.Equal(t, at, full.LastFigures.At)
	require.Equal(t, 42.5, *full.LastFigures.CPU)
	require.Equal(t, store.Features{}, plain.Features)
	require.Equal(t, store.Setups{Revision: 1, SetupID: "op-3"}, script.Setups)
	require.Equal(t, api.StateSetupFailed, full.State)
	require.JSONEq(t, `{"zone":"b","big":12345678901234567890}`, string(full.Data))
	for _, in := range ins {
		require.EqualValues(t, 1, in.Revision, in.Name)
	}
	ops, err := s.Unfinished(t.Context())
	require.NoError(t, err)
	require.Len(t, ops, 1)
	require.EqualValues(t, 1, ops[0].Revision)
	ended, err := s.Operation(t.Context(), "op-1")
	require.NoError(t, err)
	require.EqualValues(t, 1, ended.Revision)
	evs, err := s.Events(t.Context(), store.EventQuery{})
	require.NoError(t, err)
	require.Len(t, evs, 2)
	home, err := s.Setting(t.Context(), "home_id")
	require.NoError(t, err)
	require.Equal(t, "0123456789abcdef", home)

	was := full
	full.SetupFailed, full.State, full.Muted = "", api.StateRunning, nil
	ops[0].State = api.OpSucceeded
	c := &store.Change{Operations: ops}
	require.NoError(t, c.Put(&was, &full))
	require.NoError(t, s.Apply(t.Context(), c))
	require.NoError(t, s.Close())

	// In the documents of instances nothing of it is left, and all that is not known of them.
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	var doc []byte
	require.NoError(t, db.QueryRow("SELECT doc FROM instances WHERE id = 'i-plain'").Scan(&doc))
	require.Contains(t, string(doc), `"of_another_build":{"kept":true}`)
	require.NoError(t, db.QueryRow("SELECT doc FROM instances WHERE id = 'i-script'").Scan(&doc))
	var fields map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(doc, &fields))
	require.Contains(t, fields, "token")
	require.NotContains(t, fields, "setup_id")
}

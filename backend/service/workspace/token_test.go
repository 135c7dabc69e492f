package workspace

import (
	"context"
	"database/sql"
	"encoding/json"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/mem"
	"berth/backend/service/store"
)

// noted is a provider that notes with which tokens machines are asked for.
type noted struct {
	*mem.Backend
	mu     sync.Mutex
	tokens map[string][]string // by name
}

func (b *noted) Create(ctx context.Context, s backend.Spec) (backend.Machine, error) {
	b.mu.Lock()
	b.tokens[s.Name] = append(b.tokens[s.Name], s.Token)
	b.mu.Unlock()
	return b.Backend.Create(ctx, s)
}

// TestATokenIsNeverComputedAnew: a create that an older build began, and whose answer was lost, is gone on with under
// the token that was stored, whatever this build would choose: there is one machine. The database is an older build's;
// so that no rule of today's gives the same, its tokens are made others.
func TestATokenIsNeverComputedAnew(t *testing.T) {
	files, err := filepath.Glob("testdata/underway/*.db.gz")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			keepsItsToken(t, file)
		})
	}
}

func keepsItsToken(t *testing.T, file string) {
	const point, token = "create-provider-called", "an-older-rule/17"
	e := newEnv(t)
	e.path = unzipped(t, file)
	db, err := sql.Open("sqlite", e.path)
	require.NoError(t, err)
	// The machine is asked for and is there, but its answer was never written.
	res, err := db.Exec(`UPDATE instances SET doc = json_set(doc, '$.token', ?, '$.spec.Token', ?) WHERE name_key = ? AND doc ->> 'provider_id' IS NULL`,
		token, token, point)
	require.NoError(t, err)
	n, err := res.RowsAffected()
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	require.NoError(t, db.Close())
	st, err := store.Open(t.Context(), e.path)
	require.NoError(t, err)
	doc, err := st.Setting(t.Context(), machinesKey)
	require.NoError(t, err)
	var machines map[string][]backend.Machine
	require.NoError(t, json.Unmarshal([]byte(doc), &machines))
	there := 0
	for i := range machines["mem"] {
		if m := &machines["mem"][i]; m.Name == point {
			m.Token = token
			there++
		}
	}
	require.Equal(t, 1, there, "its answer was lost")
	e.mem.Add(machines["mem"]...)
	ops, err := st.Unfinished(t.Context())
	require.NoError(t, err)
	require.NoError(t, st.Close())
	ssh := adopter{mem.New()}
	ssh.Add(machines["ssh"]...)
	b := &noted{Backend: e.mem, tokens: map[string][]string{}}
	e.lines.setup.hostKey = newHostKey
	e.opts = func(o *Options) {
		o.Backends["mem"], o.Backends["ssh"] = b, ssh
		o.Limits = Limits{Backoff: time.Millisecond}
	}
	w, _ := e.open()
	for _, op := range ops {
		require.Equal(t, api.OpSucceeded, ended(t, w, op.Operation).State, op.Instance)
	}
	require.Equal(t, []string{token}, b.tokens[point])
	for name, tokens := range b.tokens { // those of the other creates under way
		rec, err := w.Record(name)
		require.NoError(t, err)
		for _, tok := range tokens {
			require.Equal(t, rec.Token, tok, name)
		}
	}
	ms, err := e.mem.List(t.Context())
	require.NoError(t, err)
	here := 0
	for _, m := range ms {
		if m.Name == point {
			here++
			require.Equal(t, token, m.Token)
		}
	}
	require.Equal(t, 1, here, "exactly one machine")
}

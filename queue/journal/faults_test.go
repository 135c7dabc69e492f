package journal

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/queue"
)

// TestPowerLoss cuts what was written at every byte of the last commits, as a loss of power does, and damages it there:
// what was acknowledged before that byte is there, whole, and nothing of what was not.
func TestPowerLoss(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	wal := filepath.Join(dir, fileName+"-wal")
	size := func() int64 {
		fi, err := os.Stat(wal)
		require.NoError(t, err)
		return fi.Size()
	}
	acked := []int64{} // the size of the WAL when a commit was acknowledged
	for n := int64(1); n <= 6; n++ {
		commit(t, j, job(n, "train"))
		acked = append(acked, size())
	}
	files := map[string][]byte{}
	for _, name := range []string{fileName, fileName + "-wal", numbersName} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if name != numbersName {
			require.NoError(t, err)
		}
		files[name] = b
	}
	step := int64(523)
	if os.Getenv("BERTH_CHAOS") != "" {
		step = 1
	}
	last := acked[len(acked)-1]
	for cut := acked[len(acked)-3]; cut <= last; cut += step {
		for _, torn := range []bool{false, true} { // zeros where blocks were promised and not written
			if torn && cut%64 != 0 && cut != last {
				continue
			}
			to := filepath.Join(t.TempDir(), "x")
			require.NoError(t, os.Mkdir(to, 0o700))
			w := files[fileName+"-wal"][:cut:cut]
			if torn {
				w = append(w, make([]byte, last-cut)...)
			}
			require.NoError(t, os.WriteFile(filepath.Join(to, fileName), files[fileName], 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(to, fileName+"-wal"), w, 0o600))
			j, err := Open(t.Context(), to)
			require.NoError(t, err, "cut at %d", cut)
			live, err := live(t, j)
			require.NoError(t, err)
			want := 0
			for want < len(acked) && acked[want] <= cut {
				want++
			}
			// SQLite fills a commit up to a whole sector: all of it may be there before its last byte.
			require.Contains(t, []int{want, want + 1}, len(live), "cut at %d of %d", cut, last)
			for i, got := range live {
				require.Equal(t, []string{"train"}, got.Spec.Argv)
				require.EqualValues(t, i+1, got.ID.Number)
			}
			require.Empty(t, j.Told())
			commit(t, j, job(100))
			require.NoError(t, j.Close())
		}
	}
}

// TestVersion1 reads the journal of the first release.
func TestVersion1(t *testing.T) {
	dir := t.TempDir()
	b, err := os.ReadFile("testdata/version-1.db")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, fileName), b, 0o600))
	j := open(t, dir)
	jobs, more, err := j.Page(t.Context(), Query{})
	require.NoError(t, err)
	require.False(t, more)
	require.Equal(t, []string{"3", "2", "1"}, numbersOf(jobs))
	require.Equal(t, []string{"python", "train.py", "--lr", "{lr}", "a\xe9b"}, jobs[1].Spec.Argv)
	require.Equal(t, queue.Running, jobs[1].State)
	require.Equal(t, 2, jobs[1].Spec.Array.Len())
	require.Equal(t, queue.Failed, jobs[2].State)
	require.Equal(t, 3, *jobs[2].ExitCode)
	elements, _, err := j.Page(t.Context(), Query{Elements: 2})
	require.NoError(t, err)
	require.Equal(t, []string{"2_0"}, numbersOf(elements))
	require.Equal(t, "0.1", elements[0].Spec.Of(elements[0].ID).Argv[3])
	commit(t, j, job(j.Last()+1))
	require.Greater(t, j.Last(), int64(3))
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "a", "\xff", "a\xe9b", "\U0010FE00", "\U0010FEFF\xff", "€", "\xf4\x8f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := json.Marshal(escape(s))
		require.NoError(t, err)
		var got string
		require.NoError(t, json.Unmarshal(b, &got))
		require.Equal(t, s, unescape(got))
	})
}

func FuzzCeiling(f *testing.F) {
	f.Add(formatCeiling(7))
	f.Add([]byte(ceilingWord + "7 00000000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, ok := parseCeiling(b); ok {
			require.Equal(t, string(formatCeiling(n)), string(b))
		}
	})
}

func FuzzDocuments(f *testing.F) {
	f.Add([]byte(`{"argv":["a"]}`), []byte(`{"state":"queued"}`))
	f.Fuzz(func(t *testing.T, spec, status []byte) {
		if s, err := decodeSpec(spec); err == nil {
			again, err := encodeSpec(s)
			require.NoError(t, err)
			s2, err := decodeSpec(again)
			require.NoError(t, err)
			require.Equal(t, s, s2)
		}
		var st queue.Status
		if decodeStatus(status, &st) == nil {
			_, err := encodeStatus(&st)
			if err != nil {
				require.ErrorContains(t, err, "year") // what no clock says
			}
		}
	})
}

func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(n, " jobs"), func(b *testing.B) {
			j := open(b, b.TempDir())
			next := int64(1)
			for b.Loop() {
				cs := make([]queue.Change, n)
				for i := range cs {
					cs[i] = job(next, "python", "train.py", "--epochs", "10")
					next++
				}
				commit(b, j, cs...)
			}
		})
	}
}

// BenchmarkPage reads pages out of a long history.
func BenchmarkPage(b *testing.B) {
	const history = 1_000_000
	j := open(b, b.TempDir())
	for n := int64(1); n <= history; {
		cs := make([]queue.Change, 0, 10_000)
		for range cap(cs) {
			c := job(n, "python", "train.py", "--seed", fmt.Sprint(n))
			if n%50_000 == 1 {
				c.Status.State = queue.Failed
			} else {
				c.Status.State = queue.Succeeded
			}
			cs = append(cs, c)
			n++
		}
		commit(b, j, cs...)
	}
	for name, q := range map[string]Query{
		"newest":           {},
		"in the middle":    {After: queue.ID{Number: history / 2}},
		"failed":           {States: []queue.State{queue.Failed}},
		"running":          {States: []queue.State{queue.Running}},
		"text, found":      {Text: "seed 1"},
		"text, none":       {Text: "no such words"},
		"since, all of it": {Since: day},
		"since, none":      {Since: day.AddDate(1, 0, 0)},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _, err := j.Page(b.Context(), q)
				require.NoError(b, err)
			}
		})
	}
}

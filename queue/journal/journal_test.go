package journal

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/queue"
	"berth/queue/sqlfile"
)

var day = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func open(t testing.TB, dir string) *Journal {
	t.Helper()
	j, err := Open(t.Context(), dir)
	require.NoError(t, err)
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// job is a new one.
func job(n int64, argv ...string) queue.Change {
	return queue.Change{ID: queue.ID{Number: n}, Spec: &queue.Spec{Name: fmt.Sprint("job ", n), Argv: argv, Workdir: "/w"},
		Status: queue.Status{State: queue.Queued, SubmittedAt: day.Add(time.Duration(n) * time.Second), Order: n}}
}

// later is a job as it is after it was submitted.
func later(n int64, s queue.State) queue.Change {
	c := job(n)
	c.Spec, c.Status.State = nil, s
	if s.Done() {
		c.Status.EndedAt = c.Status.SubmittedAt.Add(time.Minute)
	}
	return c
}

func commit(t testing.TB, j *Journal, cs ...queue.Change) {
	t.Helper()
	require.NoError(t, j.Commit(t.Context(), cs))
}

func live(t testing.TB, j *Journal) (out []queue.Job, err error) {
	for job, err := range j.Live(t.Context()) {
		if err != nil {
			return nil, err
		}
		out = append(out, job)
	}
	return out, nil
}

func numbersOf(jobs []queue.Job) (out []string) {
	for _, j := range jobs {
		out = append(out, j.ID.String())
	}
	return out
}

func TestWhatWasCommittedIsRead(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	full := job(1, "sh", "-c", "\xff\x00\U0010FEAB"[:1], "\U0010FEAB", "a\xe9b", "€")
	full.Spec.Env = []string{"A=\xfe"}
	full.Spec.Workdir = "/w\xff"
	full.Spec.Sweep = &queue.Sweep{Axes: []queue.Axis{{Names: []string{"lr"}, Rows: [][]string{{"\xff"}, {"2"}}}}}
	full.Spec.Array = &queue.Array{Ranges: []queue.Range{{First: 0, Last: 1, Step: 1}}}
	full.Spec.UUID = "u-1"
	full.Spec.Request.GPUs = -1
	was := *full.Spec
	element := queue.Change{ID: queue.ID{Number: 1}.At(1), Status: queue.Status{State: queue.Running, Attempt: 2,
		SubmittedAt: day, StartedAt: day.Add(time.Hour), Left: []string{"sleep"}}}
	cs := []queue.Change{full, job(2, "true"), element}
	require.NoError(t, j.Commit(t.Context(), cs))
	require.EqualValues(t, 3, cs[2].Status.Seq)
	require.Equal(t, was, *full.Spec, "what was given is not changed")
	commit(t, j, later(2, queue.Succeeded))
	for range 2 {
		live, err := live(t, j)
		require.NoError(t, err)
		require.Equal(t, []string{"1", "1_1"}, numbersOf(live))
		require.Equal(t, was, live[0].Spec)
		require.Equal(t, was, live[1].Spec, "an element has its array's")
		require.Equal(t, element.Status.Left, live[1].Left)
		require.True(t, live[1].StartedAt.Equal(element.Status.StartedAt))
		require.EqualValues(t, 3, live[1].Seq)
		two, found, err := j.Job(t.Context(), queue.ID{Number: 2})
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, queue.Succeeded, two.State)
		require.Equal(t, []string{"true"}, two.Spec.Argv, "a later change keeps the spec")
		id, found, err := j.ByUUID(t.Context(), "u-1")
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, queue.ID{Number: 1}, id)
		for begin, want := range map[string]int{"u-1": 1, "u-": 1, "u-2": 0} {
			ids, err := j.BeginsUUID(t.Context(), begin)
			require.NoError(t, err)
			require.Len(t, ids, want, begin)
		}
		changed, err := j.Changed(t.Context(), 2, 10)
		require.NoError(t, err)
		require.Equal(t, []string{"1_1", "2"}, numbersOf(changed), "by their last change")
		require.NoError(t, j.Close())
		epoch := j.Epoch()
		j = open(t, dir)
		require.Equal(t, epoch, j.Epoch())
		require.Empty(t, j.Told())
	}
	next := []queue.Change{job(3)}
	require.NoError(t, j.Commit(t.Context(), next))
	require.EqualValues(t, 5, next[0].Status.Seq, "change numbers go on")
}

// A change that can't be written takes the others of its transaction with it, and no change number.
func TestACommitIsAllOrNothing(t *testing.T) {
	j := open(t, t.TempDir())
	a := job(1)
	a.Spec.UUID = "u"
	commit(t, j, a)
	b := job(3)
	b.Spec.UUID = "u"
	require.ErrorContains(t, j.Commit(t.Context(), []queue.Change{job(2), b}), "job 3")
	live, err := live(t, j)
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, numbersOf(live))
	cs := []queue.Change{job(2)}
	require.NoError(t, j.Commit(t.Context(), cs))
	require.EqualValues(t, 2, cs[0].Status.Seq)
}

func TestPages(t *testing.T) {
	j := open(t, t.TempDir())
	var cs []queue.Change
	for n := int64(1); n <= 9; n++ {
		cs = append(cs, job(n, "train", fmt.Sprintf("--Seed=%d", n)))
	}
	cs[6].Spec.Array = &queue.Array{Ranges: []queue.Range{{First: 0, Last: 9, Step: 1}}}
	for i := range 10 {
		cs = append(cs, queue.Change{ID: queue.ID{Number: 7}.At(i), Status: queue.Status{State: queue.Running}})
	}
	cs[1].Spec.Argv = []string{"100%_sure", `a\b`}
	service := job(10, "serve")
	service.Spec.Service = &queue.Service{Port: 8000}
	commit(t, j, append(cs, service)...)
	commit(t, j, later(3, queue.Failed), later(4, queue.Succeeded), later(10, queue.Running))
	page := func(q Query) (all []string, more bool) {
		jobs, more, err := j.Page(t.Context(), q)
		require.NoError(t, err)
		return numbersOf(jobs), more
	}
	for name, is := range map[string]struct {
		q    Query
		want string
		more bool
	}{
		"newest first":   {Query{}, "9 8 7 6 5 4 3 2 1", false},
		"a page":         {Query{Limit: 3}, "9 8 7", true},
		"the next":       {Query{Limit: 3, After: queue.ID{Number: 7}}, "6 5 4", true},
		"the last":       {Query{Limit: 3, After: queue.ID{Number: 4}}, "3 2 1", false},
		"states":         {Query{States: []queue.State{queue.Failed, queue.Succeeded}}, "4 3", false},
		"text, any case": {Query{Text: "SEED=6"}, "6", false},
		"a % is itself":  {Query{Text: "0%_s"}, "2", false},
		"no wildcard":    {Query{Text: "1%s"}, "", false},
		"a backslash":    {Query{Text: `a\b`}, "2", false},
		"since":          {Query{Since: day.Add(8 * time.Second)}, "9 8 4 3", false},
		"elements":       {Query{Elements: 7, Limit: 4}, "7_0 7_1 7_2 7_3", true},
		"more elements":  {Query{Elements: 7, After: queue.ID{Number: 7}.At(7)}, "7_8 7_9", false},
		"services":       {Query{Services: true, States: []queue.State{queue.Running}}, "10", false},
		"of no array":    {Query{Elements: 6}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, more := page(is.q)
			require.Equal(t, is.want, strings.Join(got, " "))
			require.Equal(t, is.more, more)
		})
	}
}

// A number that was given is not given again, whatever becomes of the files.
func TestNumbersAreGivenOnce(t *testing.T) {
	take := func(t *testing.T, j *Journal) int64 {
		t.Helper()
		n := j.Last() + 1
		commit(t, j, job(n))
		require.Equal(t, n, j.Last())
		return n
	}
	path := func(dir, name string) string { return filepath.Join(dir, name) }
	for name, is := range map[string]struct {
		between func(t *testing.T, dir string)
		want    int64
	}{
		"nothing happens": {func(*testing.T, string) {}, 4},
		"the journal is lost": {func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(path(dir, fileName)))
		}, 1001},
		"the file of numbers is lost": {func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(path(dir, numbersName)))
		}, 1001},
		"the file of numbers is torn": {func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(path(dir, numbersName), []byte(ceilingWord+"1"), 0o600))
		}, 1001},
		"the last jobs were forgotten": {func(t *testing.T, dir string) {
			j := open(t, dir)
			commit(t, j, later(1, queue.Failed), later(2, queue.Failed), later(3, queue.Failed))
			require.Equal(t, []int64{1, 2, 3}, forget(t, j, Limits{After: day.Add(time.Hour)}))
			require.NoError(t, j.Close())
		}, 4},
		"another has seen higher ones": {func(t *testing.T, dir string) {
			j := open(t, dir)
			require.NoError(t, j.Raise(t.Context(), 2))
			require.NoError(t, j.Raise(t.Context(), 70_000))
			require.NoError(t, j.Close())
		}, 70_001},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j := open(t, dir)
			for n := int64(1); n <= 3; n++ {
				require.Equal(t, n, take(t, j))
			}
			require.NoError(t, j.Close())
			is.between(t, dir)
			j = open(t, dir)
			require.Equal(t, is.want, take(t, j))
		})
	}
}

// An earlier journal is put in the place of a newer one, as who restores a copy does.
func TestAJournalThatWasTakenBackGoesOnAbove(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	commit(t, j, job(1))
	require.NoError(t, j.Close())
	was, err := os.ReadFile(filepath.Join(dir, fileName))
	require.NoError(t, err)
	j = open(t, dir)
	commit(t, j, job(2*block))
	require.NoError(t, j.Close())
	require.NoError(t, os.WriteFile(filepath.Join(dir, fileName), was, 0o600))
	j = open(t, dir)
	require.GreaterOrEqual(t, j.Last(), int64(2*block))
}

// A file that is none, of zeros after a hard reboot say, is kept, and told.
func TestADamagedJournalIsKeptAside(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	commit(t, j, job(1))
	require.NoError(t, j.Close())
	for n := 1; n <= 2; n++ {
		path := filepath.Join(dir, fileName)
		require.NoError(t, os.WriteFile(path, make([]byte, 8192), 0o600))
		j = open(t, dir)
		aside := fmt.Sprintf("%s.broken-%d", path, n)
		require.Contains(t, j.Told(), aside)
		require.FileExists(t, aside)
		require.Greater(t, j.Last(), int64(1))
		require.NoError(t, j.Close())
	}
}

func TestANewerJournalIsRefusedUntouched(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, open(t, dir).Close())
	path := filepath.Join(dir, fileName)
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = db.Exec("PRAGMA user_version = 999")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	_, err = Open(t.Context(), dir)
	require.ErrorContains(t, err, "a newer Berth wrote it")
	require.ErrorAs(t, err, new(*sqlfile.NewerError))
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// forget forgets what is beyond the limits, and says what.
func forget(t *testing.T, j *Journal, l Limits) []int64 {
	t.Helper()
	old, err := j.Old(t.Context(), l)
	require.NoError(t, err)
	require.NoError(t, j.Forget(t.Context(), old))
	return old
}

func TestForget(t *testing.T) {
	j := open(t, t.TempDir())
	for n := int64(1); n <= 8; n++ {
		c := job(n)
		c.Spec.UUID = fmt.Sprint("u", n)
		commit(t, j, c)
	}
	commit(t, j, queue.Change{ID: queue.ID{Number: 2}.At(0), Status: queue.Status{State: queue.Failed}})
	for _, n := range []int64{1, 2, 4, 5, 6} {
		commit(t, j, later(n, queue.Succeeded))
	}
	require.Equal(t, []int64{1, 2, 4}, forget(t, j, Limits{Jobs: 2}), "what is not done stays, and counts for nothing")
	require.Empty(t, forget(t, j, Limits{Jobs: 2}))
	require.NoError(t, j.Forget(t.Context(), []int64{3, 99}))
	_, found, err := j.Job(t.Context(), queue.ID{Number: 3})
	require.NoError(t, err)
	require.True(t, found, "it is not done")
	_, found, err = j.ByUUID(t.Context(), "u1")
	require.NoError(t, err)
	require.False(t, found)
	id, found, forgotten, err := j.Submitted(t.Context(), "u1")
	require.NoError(t, err)
	require.False(t, found)
	require.True(t, forgotten, "who says it again is told that it was there")
	require.EqualValues(t, 1, id.Number)
	ids, err := j.BeginsUUID(t.Context(), "u1")
	require.NoError(t, err)
	require.Empty(t, ids)
	_, _, forgotten, err = j.Submitted(t.Context(), "u99")
	require.NoError(t, err)
	require.False(t, forgotten)
	left, err := j.Changed(t.Context(), 0, 100)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"3", "5", "6", "7", "8"}, numbersOf(left), "elements go with their array")

	require.NoError(t, j.Raise(t.Context(), 4+keepUUIDs))
	require.NoError(t, j.Forget(t.Context(), []int64{5}))
	for uuid, want := range map[string]bool{"u1": false, "u4": false, "u5": true} {
		_, _, forgotten, err = j.Submitted(t.Context(), uuid)
		require.NoError(t, err)
		require.Equal(t, want, forgotten, "%s: not for ever", uuid)
	}
	_, found, err = j.ByUUID(t.Context(), "u3")
	require.NoError(t, err)
	require.True(t, found, "those of jobs stay")
	commit(t, j, later(3, queue.Succeeded))
	require.NoError(t, j.Forget(t.Context(), []int64{3}))
	_, _, forgotten, err = j.Submitted(t.Context(), "u3")
	require.NoError(t, err)
	require.False(t, forgotten, "that of an old job goes with it")
}

// Who is to be told of an end stands in the journal until that is settled, or the job is forgotten.
func TestWhoIsToBeTold(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	due := func(at time.Time, limit int) ([]int64, time.Time) {
		t.Helper()
		list, next, err := j.Due(t.Context(), at, limit)
		require.NoError(t, err)
		return list, next
	}
	for n := range int64(3) {
		commit(t, j, job(n+1))
		c := later(n+1, queue.Failed)
		c.Status.Owe([]string{"a", "b"}, day.Add(time.Duration(3-n)*time.Minute))
		commit(t, j, c)
	}
	require.NoError(t, j.Close())
	j = open(t, dir)
	list, next := due(day.Add(2*time.Minute), 10)
	require.Equal(t, []int64{3, 2}, list)
	require.Equal(t, day.Add(3*time.Minute), next)
	list, next = due(day.Add(time.Hour), 1)
	require.Equal(t, []int64{3}, list)
	require.Equal(t, day.Add(2*time.Minute), next)

	three, _, err := j.Job(t.Context(), queue.ID{Number: 3})
	require.NoError(t, err)
	three.Try(day.Add(time.Minute), func(int) time.Time { return day.Add(time.Hour) })
	require.NoError(t, j.Settle(t.Context(), three.ID, &three.Status, true))
	list, next = due(day.Add(2*time.Minute), 10)
	require.Equal(t, []int64{2}, list)
	require.Equal(t, day.Add(3*time.Minute), next)
	for _, name := range []string{"a", "b"} {
		three.Told(name, "", 1, nil)
	}
	require.NoError(t, j.Settle(t.Context(), three.ID, &three.Status, true))
	two, _, err := j.Job(t.Context(), queue.ID{Number: 2})
	require.NoError(t, err)
	require.NoError(t, j.Settle(t.Context(), two.ID, &two.Status, false))
	list, next = due(day.Add(time.Hour), 10)
	require.Equal(t, []int64{1}, list)
	require.Zero(t, next)
	require.NoError(t, j.Forget(t.Context(), []int64{1}))
	list, _ = due(day.Add(time.Hour), 10)
	require.Empty(t, list)
	three, _, err = j.Job(t.Context(), three.ID)
	require.NoError(t, err)
	require.Empty(t, three.Owed)
}

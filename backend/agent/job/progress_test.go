package job

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/joblog"
	"berth/backend/api"
	"berth/queue"
)

// runs begins a job whose run says what a test has it say: write appends to its log.
func runs(t *testing.T, l *loop, r *recorder, s queue.Spec) (id queue.ID, write func(string)) {
	t.Helper()
	id = submitted(t, l, s)
	eventually(t, "it starts", r.has(&r.started, id))
	dir := l.runDir(id, 1)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, joblog.Prepare(dir))
	l.emit(queue.Event{ID: id, Attempt: 1, Started: &queue.Started{PID: 1, At: time.Now(), Supervised: true}})
	eventually(t, "it runs", func() bool {
		job, err := l.job(t.Context(), id)
		return err == nil && job.State == queue.Running
	})
	return id, func(text string) {
		f, err := os.OpenFile(joblog.Path(dir), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		require.NoError(t, err)
		_, err = f.WriteString(text)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
}

// TestProgress: what a job prints says how far it is; each change is told once, and a quiet job says nothing.
func TestProgress(t *testing.T) {
	l, r, _ := opened(t, t.TempDir())
	id, write := runs(t, l, r, spec("train"))
	ask := func(mark string) api.JobsProgress {
		p, err := l.waitProgress(t.Context(), []queue.ID{id, {Number: 99}}, mark)
		require.NoError(t, err)
		require.Len(t, p.Jobs, 1, "one that is not there is left out")
		return p
	}
	p := ask("")
	require.Nil(t, p.Jobs[0].Percent)

	quiet, cancel := context.WithTimeout(t.Context(), 2*lookEvery)
	defer cancel()
	_, err := l.waitProgress(quiet, []queue.ID{id}, p.Mark)
	require.ErrorIs(t, err, context.DeadlineExceeded, "nothing is told")

	write(strings.Repeat("noise\n", 10_000) + "\r 12%|█▏        | 120/1000 [00:30<03:40,  4.00it/s]")
	p = ask(p.Mark)
	require.InDelta(t, 12, *p.Jobs[0].Percent, 0.1)
	require.Equal(t, api.FromOutput, p.Jobs[0].From)
	require.InDelta(t, 4, p.Jobs[0].Rate, 0.01)
	require.WithinDuration(t, time.Now().Add(220*time.Second), p.Jobs[0].EndAt, 5*time.Second)

	write("\r 99%|█████████ | 990/1000 [00:30<00:40,  4.00it/s]")
	p = ask(p.Mark)
	one, err := l.one(t.Context(), id)
	require.NoError(t, err)
	require.InDelta(t, 99, *one.ProgressPercent, 0.1)
	require.Equal(t, "it", one.ProgressUnit)

	write("\r  1%|          | 10/1000 [00:30<00:40,  4.00it/s]")
	p = ask(p.Mark)
	require.Equal(t, "this loop", p.Jobs[0].Of, "it began again: nobody knows how often it will")

	l.emit(queue.Event{ID: id, Attempt: 1, Ended: &queue.Ended{At: time.Now()}})
	eventually(t, "it ends", func() bool {
		one, err := l.one(t.Context(), id)
		require.NoError(t, err)
		return one.State.Done() && one.ProgressPercent == nil
	})
}

// TestNestedProgress: the loop around another one counts, also where its own bar stands far above.
func TestNestedProgress(t *testing.T) {
	l, r, _ := opened(t, t.TempDir())
	id, write := runs(t, l, r, spec("train"))
	inner := "\n\r 50%|█████     | 10/20 [00:01<00:01,  9.00it/s]\x1b[A"
	write("\r 30%|███       | 3/10 [10:00<20:00, 200.00s/it]" + strings.Repeat(inner, 2*tailBytes/len(inner)))
	one, err := l.one(t.Context(), id)
	require.NoError(t, err)
	require.InDelta(t, 35, *one.ProgressPercent, 0.1)
	time.Sleep(lookEvery)
	write(strings.Repeat(inner, 2*moreBytes/len(inner)))
	one, err = l.one(t.Context(), id)
	require.NoError(t, err)
	require.InDelta(t, 35, *one.ProgressPercent, 0.1, "what was seen stands")
}

// TestProgressByTime: without a word of the job its history counts, then its time limit.
func TestProgressByTime(t *testing.T) {
	l, r, _ := opened(t, t.TempDir())
	s := spec("train")
	first, _ := runs(t, l, r, s)
	l.emit(queue.Event{ID: first, Attempt: 1, Ended: &queue.Ended{At: time.Now().Add(time.Hour)}})
	eventually(t, "it is in the history", func() bool {
		d, _, err := l.journal.Took(t.Context(), &s)
		require.NoError(t, err)
		return d > 0
	})
	s.Timeout = 4 * time.Hour
	id, write := runs(t, l, r, s)
	job, err := l.job(t.Context(), id)
	require.NoError(t, err)
	require.InDelta(t, time.Hour.Seconds(), job.Spec.Expect.Seconds(), 5)
	at := func(ran time.Duration) api.JobProgress {
		j := job
		j.StartedAt = time.Now().Add(-ran)
		return l.progress(&j)
	}
	p := at(15 * time.Minute)
	require.InDelta(t, 25, *p.Percent, 0.5)
	require.Equal(t, api.FromHistory, p.From)
	require.WithinDuration(t, time.Now().Add(45*time.Minute), p.EndAt, 10*time.Second)
	p = at(2 * time.Hour)
	require.InDelta(t, 50, *p.Percent, 0.5, "it takes longer than before")
	require.Equal(t, api.FromTimeLimit, p.From)
	require.Zero(t, p.EndAt, "a limit says nothing of the end")

	write("Train Epoch: 3 [12800/60000 (21%)]\tLoss: 0.1\n")
	time.Sleep(lookEvery)
	p = at(15 * time.Minute)
	require.Equal(t, api.FromHistory, p.From, "an epoch is not the whole")
	p = at(2 * time.Hour)
	require.Equal(t, "Epoch 3", p.Of)
	require.InDelta(t, 21, *p.Percent, 0.5)
	require.Zero(t, p.EndAt)

	write("step 500/1000\n")
	time.Sleep(lookEvery)
	p = at(time.Hour)
	require.InDelta(t, 50, *p.Percent, 0.5)
	require.WithinDuration(t, time.Now().Add(time.Hour), p.EndAt, time.Minute, "by its pace until now")
	j := job
	j.State, j.StartedAt, j.PausedAt = queue.Paused, time.Now().Add(-time.Hour), time.Now()
	p = l.progress(&j)
	require.NotNil(t, p.Percent)
	require.Zero(t, p.EndAt, "nobody knows when it goes on")
}

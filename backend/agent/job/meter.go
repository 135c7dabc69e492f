package job

import (
	"context"
	"math"
	"sync"
	"time"
)

// usedHalf is how long it takes until GPU time counts half. So what was used yesterday counts, what was used last week
// hardly does, and nothing stops to count at one moment, as at the edge of a window. One number and its time are all
// that is kept and told.
const usedHalf = 24 * time.Hour

// usedBack is how far back the journal is read: what is older counts less than a hundredth.
const usedBack = 7 * usedHalf

// meter counts for how long GPUs were held, times their number. One that several jobs share counts once.
type meter struct {
	mu    sync.Mutex
	used  float64 // seconds, as they count at that time
	at    time.Time
	holds int // since then
}

// note says how many GPUs are held from now on.
func (m *meter) note(now time.Time, holds int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pass(now)
	m.holds = holds
}

// add counts GPU seconds of before, which ended at a time.
func (m *meter) add(seconds float64, ended time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	age := max(m.at.Sub(ended), 0)
	m.used += max(seconds, 0) * math.Exp2(-age.Hours()/usedHalf.Hours())
}

// now are the GPU seconds as they count now.
func (m *meter) now(now time.Time) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pass(now)
	return m.used
}

// pass goes on to a time. Where the clock was set back, none has passed.
func (m *meter) pass(now time.Time) {
	d := max(now.Sub(m.at), 0)
	if m.at.IsZero() {
		d = 0
	}
	left := math.Exp2(-d.Hours() / usedHalf.Hours())
	m.used = m.used*left + float64(m.holds)*usedHalf.Seconds()/math.Ln2*(1-left)
	m.at = now
}

// begun counts what the jobs that run have had of GPUs before this agent came.
func (l *loop) begun() {
	now := l.now()
	l.gpus.meter.note(now, l.plan.HeldGPUs())
	for _, id := range l.plan.Active() {
		if st, ok := l.plan.Status(id); ok && !st.StartedAt.IsZero() {
			l.gpus.meter.add(min(now.Sub(st.StartedAt), usedBack).Seconds()*float64(len(st.GPUs)), now)
		}
	}
}

// recall counts what the jobs had that were done before this agent came: those up to a change number of the journal.
func (l *loop) recall(ctx context.Context, upTo int64) {
	if !l.gpus.present() {
		return
	}
	now := l.now()
	for j, err := range l.journal.DoneOnGPUs(ctx, now.Add(-usedBack), upTo) {
		if err != nil {
			if ctx.Err() == nil {
				l.log.Warn("what earlier jobs had of GPUs is not counted", "error", err)
			}
			return
		}
		l.gpus.meter.add(gpuSeconds(&j, now), j.EndedAt)
	}
}

package monitor

import (
	"fmt"
	"slices"
	"time"

	"berth/gpu"
	"berth/gpu/history"
)

const (
	// recordAhead is how many samples wait while the disk is slow; more are left out.
	recordAhead = 30
	// recordLimit is after how long a write counts as hanging.
	recordLimit = 5 * time.Second
)

// record keeps samples in a goroutine of its own: the history's file may lie on a share whose server is away, and
// the live figures go on then. The function that is returned ends it and closes the history; it does not wait
// long for a disk that hangs.
func (m *Monitor) record() (stop func()) {
	c, done := make(chan *gpu.Sample, recordAhead), make(chan struct{})
	m.samples = c
	go func() {
		defer close(done)
		for s := range c {
			m.append(s)
		}
		if err := m.history.Close(); err != nil {
			m.o.Log.Warn("closing the history", "error", err)
		}
	}()
	return func() {
		close(c)
		select {
		case <-done:
		case <-time.After(recordLimit):
			m.o.Log.Warn("the history was not closed: its disk hangs")
		}
	}
}

// keep gives a sample to the history.
func (m *Monitor) keep(s *gpu.Sample) {
	if m.samples == nil {
		m.append(s)
		return
	}
	select {
	case m.samples <- s:
	default: // historyProblem says so
	}
}

func (m *Monitor) append(s *gpu.Sample) {
	m.setKeeping(max(m.elapsed(), 1))
	defer m.setKeeping(0)
	m.guard("history", func() { m.problem("history", m.history.Append(s)) })
}

func (m *Monitor) setKeeping(at time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keeping = at
}

// hangs says for how long the history has been writing one sample.
func (m *Monitor) hangs() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keeping > 0 && m.elapsed()-m.keeping > recordLimit {
		return fmt.Errorf("the history can't be read or written: its file %s has not answered for %s", m.o.History,
			(m.elapsed() - m.keeping).Round(time.Second))
	}
	return nil
}

func (m *Monitor) historyProblem() error {
	if err := m.hangs(); err != nil {
		return err
	}
	return m.history.Problem()
}

// Series answers a question about the past.
func (m *Monitor) Series(q history.Query) ([]gpu.Series, error) {
	if err := m.hangs(); err != nil {
		return nil, err
	}
	list, err := m.history.Series(q)
	if last := m.Last(); last != nil {
		for i := range list {
			list[i].Unified = list[i].Metric == "gpu_memory_used_bytes" && slices.ContainsFunc(last.GPUs, func(g gpu.GPU) bool {
				return g.UUID == list[i].Subject && g.Unified
			})
		}
	}
	return list, err
}

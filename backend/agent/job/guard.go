package job

import (
	"slices"
	"time"

	"berth/backend/agent/job/run"
	"berth/backend/agent/lease"
	"berth/queue"
	"berth/queue/plan"
)

// guards are leases that this agent holds for jobs whose own are gone: somebody has removed the file, as its maker and
// those who tidy up old files may, or all who had inherited it were killed while a container of the job lives on. Only
// the ledger's goroutine has them.
type guards struct {
	held    map[string]*lease.Lease // by the GPU's UUID
	missing map[string]plan.Holding // whose lease was not there at the last look
	fresh   time.Time               // when the files were made to look new
}

// freshEvery is how often files that are held are made to look new: what is old in a folder for temporary files is
// removed one day.
const freshEvery = time.Hour

// guard looks whether jobs that have GPUs still hold them where other users see it: there is who holds which. A lease
// that is missing at two looks is taken by the agent, until the job has ended; at one look only the job may be about to
// end.
func (l *loop) guard(held map[string][]plan.Holding, names map[queue.ID]string,
	there map[string]lease.Holder) {
	g := &l.guards
	for uuid, of := range g.held {
		if !slices.ContainsFunc(held[uuid], func(h plan.Holding) bool { return h.Running }) {
			of.Close()
			delete(g.held, uuid)
		}
	}
	if len(held) == 0 {
		g.missing = nil
		return
	}
	folder, err := l.gpus.leases()
	if err != nil {
		return // each job with a GPU says so
	}
	var uuids []string
	for uuid := range held {
		uuids = append(uuids, uuid)
	}
	slices.Sort(uuids)
	if now := l.now(); now.Sub(g.fresh).Abs() >= freshEvery {
		g.fresh = now
		folder.Freshen(uuids)
	}
	was := g.missing
	g.missing = map[string]plan.Holding{}
	for _, uuid := range uuids {
		h := held[uuid][0]
		if _, is := there[uuid]; is || !h.Running {
			continue
		}
		if was[uuid] != h {
			g.missing[uuid] = h
			continue
		}
		of, err := folder.Take([]string{uuid}, run.Holder(l.gpus.home, h.ID, h.Attempt, names[h.ID], h.Memory))
		if err != nil {
			l.log.Warn("a job's GPU is not held any more where other users see it", "job", h.ID, "gpu", uuid, "error", err)
			continue
		}
		l.log.Warn("the lease of a job's GPU was gone: the agent holds it now", "job", h.ID, "gpu", uuid)
		if g.held == nil {
			g.held = map[string]*lease.Lease{}
		}
		g.held[uuid] = of
	}
}

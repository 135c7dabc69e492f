package plan

import (
	"slices"

	"berth/queue"
)

// begin starts a run of a job that waits.
func (p *Planner) begin(it *item) {
	p.must(it, queue.ToBegin)
	st := it.st
	fresh(st)
	st.Attempt++
	for _, i := range p.room.choose(p.needOf(it.shape.request)) {
		st.GPUs = append(st.GPUs, p.limits.GPUs[i].GPU)
	}
	p.starts += int64(boolInt(len(st.GPUs) > 0))
	p.hold(it)
	p.arrange(it)
	p.actions = append(p.actions, Action{ID: it.id, Attempt: st.Attempt, Do: DoStart})
}

// fresh forgets what a status says of the last run.
func fresh(st *queue.Status) {
	*st = queue.Status{State: st.State, Priority: st.Priority, Order: st.Order, Unmet: st.Unmet, Attempt: st.Attempt,
		Retried: st.Retried, SubmittedAt: st.SubmittedAt, Code: st.Code, Seq: st.Seq}
}

// hold takes what a job needs while it runs.
func (p *Planner) hold(it *item) {
	it.run = &run{need: p.needOf(it.shape.request), gpus: p.room.places(it.st.GPUs), at: len(p.active)}
	p.active = append(p.active, it)
	p.up += boolInt(it.service())
	p.wanting += boolInt(it.shape.request.GPUs != 0)
	p.room.take(it.run.need, it.run.gpus)
	it.shape.group.active++
	p.arrangeGroup(it.shape.group)
	if it.arr != nil {
		it.arr.active++
		p.arrangeArray(it.arr)
	}
}

// release gives back what a job held.
func (p *Planner) release(it *item) {
	last := p.active[len(p.active)-1]
	p.active[it.run.at], last.run.at = last, it.run.at
	p.active[len(p.active)-1] = nil
	p.active = p.active[:len(p.active)-1]
	p.up -= boolInt(it.service())
	p.room.give(it.run.need, it.run.gpus)
	p.wanting -= boolInt(it.shape.request.GPUs != 0)
	stray := p.strays(it)
	it.run = nil
	if stray {
		p.retake()
	}
	it.shape.group.active--
	p.arrangeGroup(it.shape.group)
	if it.arr != nil {
		it.arr.active--
		p.arrangeArray(it.arr)
	}
}

// stop tells a job's run to end: it is asked first, and killed after the grace. What ended its run already keeps its
// cause: only what is left of it is told.
func (p *Planner) stop(it *item, why queue.Cause, by string) {
	if !it.st.StopAt.IsZero() {
		return // it was told
	}
	st := p.touch(it)
	st.StopAt, st.By = p.now, by
	it.run.kill = p.now.Add(it.ask.grace)
	was := st.State
	if was == queue.Stopping {
		p.signal(it, "TERM", queue.All)
		return
	}
	st.Cause = why
	p.must(it, queue.ToStop)
	p.term(it)
	if was == queue.Paused {
		p.signal(it, "CONT", queue.All) // a stopped process gets no other signal
	}
}

// term asks a run to end, once. One that is being started is not begun, or gets it then.
func (p *Planner) term(it *item) {
	if !it.run.told {
		it.run.told = true
		p.signal(it, "TERM", queue.Leader)
	}
}

// started takes in that a main process runs: just now, or still.
func (p *Planner) started(it *item, e queue.Started) {
	st := it.st
	if !st.EndedAt.IsZero() || !st.State.Active() {
		return
	}
	if e.At.IsZero() {
		e.At = p.now
	}
	if !st.StartedAt.Equal(e.At) || st.Supervised != e.Supervised || st.State == queue.Preparing {
		p.touch(it)
		st.StartedAt, st.Supervised = e.At, e.Supervised
	}
	switch st.State {
	case queue.Preparing:
		st.Message = "" // of a delay
		for _, w := range e.Warnings {
			if !slices.Contains(st.Warnings, w) {
				st.Warnings = append(st.Warnings, w)
			}
		}
		p.must(it, queue.ToRun)
	case queue.Paused:
		p.signal(it, "STOP", queue.All)
	case queue.Stopping:
		p.term(it) // an agent before this one may not have come to it
	}
	if st.State == queue.Running && it.run.deadline.IsZero() {
		p.arm(it)
	}
}

// delayed takes in why a run can't be begun for now.
func (p *Planner) delayed(it *item, e queue.Delayed) {
	if st := it.st; st.EndedAt.IsZero() && st.State.Active() && st.Message != e.Why {
		p.touch(it).Message = e.Why
	}
}

// finished takes in how a main process ended.
func (p *Planner) finished(it *item, e queue.Ended) {
	if !it.st.EndedAt.IsZero() { // it is told again after a restart
		p.left(it, queue.Left{Names: e.Left})
		return
	}
	st := p.touch(it)
	if e.At.IsZero() {
		e.At = p.now
	}
	// A clock that was set back says nothing of which came first.
	setBack := p.now.Round(0).Before(st.StopAt)
	asked := !st.StopAt.IsZero() && (e.Lost != "" || setBack || !e.At.Before(st.StopAt))
	st.EndedAt, st.CPU, st.PeakMemory, st.Signal, st.Left = e.At, e.CPU, e.PeakMemory, e.Signal, e.Left
	st.Beside = e.Beside
	st.LogBytes, st.PeakGPUMemory, st.GPUEnergy = e.LogBytes, e.PeakGPUMemory, e.GPUEnergy
	if e.Exit >= 0 {
		code := e.Exit
		st.ExitCode = &code
	}
	st.Message = e.Failed + e.Lost
	if !asked {
		st.By, st.Again = "", false
		st.Cause = causeOf(e)
		if st.Cause == queue.ByExit && e.Exit > 0 || st.Cause == queue.BySignal {
			if cause, text := p.faultOf(it); cause != "" {
				st.Cause, st.Message = cause, text
			}
		}
	}
	st.Warnings = append(st.Warnings, e.Warnings...)
	switch {
	case e.OOM == "":
	case st.Cause == queue.ByOOM:
		st.Message = e.OOM
	default:
		st.Warnings = append(st.Warnings, e.OOM)
	}
	if len(e.Left) == 0 {
		p.gone(it)
		return
	}
	if st.State != queue.Stopping {
		p.must(it, queue.ToStop)
	}
	if it.ask.killLeftovers {
		p.stop(it, "", "")
	}
}

// causeOf is why a run ended that nobody told to.
func causeOf(e queue.Ended) queue.Cause {
	switch {
	case e.Lost != "":
		return queue.ByLoss
	case e.Failed != "":
		return queue.ByStart
	case e.OOM != "" && (e.Signal != "" || e.Exit > 0): // its own program, or the one that waited for the one that was killed
		return queue.ByOOM
	case e.Signal != "":
		return queue.BySignal
	case e.Exit < 0:
		return queue.ByLoss
	}
	return queue.ByExit
}

// left takes in what lives after a main process.
func (p *Planner) left(it *item, l queue.Left) {
	if it.st.EndedAt.IsZero() {
		return // its end will say it
	}
	p.touch(it).Left = l.Names
	if len(l.Names) == 0 {
		p.gone(it)
	}
}

// gone ends a run of which no process is left: the job is done, or waits for another run.
func (p *Planner) gone(it *item) {
	p.release(it)
	st := p.touch(it)
	end := st.End()
	switch {
	case st.Again:
		p.must(it, queue.ToAgain)
		st.Again, st.Cause, st.By = false, "", ""
		p.arrange(it)
	case it.again(end):
		p.must(it, queue.ToAgain)
		if it.service() && !st.StartedAt.IsZero() && st.EndedAt.Sub(st.StartedAt) >= queue.ServiceWell {
			st.Retried = 0
		}
		st.Retried++
		st.EligibleAt = p.now.Add(queue.Backoff(st.Retried))
		p.arrange(it)
	default:
		p.must(it, end)
		p.done(it)
	}
}

// again reports whether a job whose run has ended so is run again by itself. A service is, however it ended, but for
// one of which the first run could not be begun: nobody knows yet whether it ever can.
func (it *item) again(end queue.Turn) bool {
	st := it.st
	switch {
	case st.Retried >= it.ask.retries || !slices.Contains(it.ask.retryOn, st.Cause):
		return false
	case it.service():
		return st.Cause != queue.ByStart || st.Attempt > 1
	}
	return end != queue.ToSucceed
}

// done says that a job is done, to its array and to those that wait for it.
func (p *Planner) done(it *item) {
	st := p.touch(it)
	if st.EndedAt.IsZero() {
		st.EndedAt = p.now
	}
	p.arrange(it)
	p.ended = append(p.ended, it.id.Number)
	if it.id.Element {
		delete(it.arr.own, it)
		*p.touch(it.arr.of).Tally.Of(st.State)++
		p.tidyArray(it.arr)
	}
}

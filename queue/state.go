package queue

import (
	"fmt"
	"time"
)

// State is where a job stands.
//
// Of an array: Queued and Held are those elements that have no job of their own yet. It is Running once there is none
// of these, until all elements are done, and ends then as the worst of them did.
type State string

// The states. Those from Succeeded on are final, unless the job is retried.
const (
	Queued    State = "queued"    // it waits; the plan says for what
	Held      State = "held"      // it waits until it is released
	Preparing State = "preparing" // its run is written down, and is being started
	Running   State = "running"
	Paused    State = "paused"   // its processes are stopped (SIGSTOP)
	Stopping  State = "stopping" // it was told to end, or its main process has ended and others of it are left
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Cancelled State = "cancelled"
	TimedOut  State = "timed_out"
	Lost      State = "lost" // how it ended is not known, and none of its processes is left
)

// Done reports that nothing of the job runs or will run.
func (s State) Done() bool {
	switch s {
	case Succeeded, Failed, Cancelled, TimedOut, Lost:
		return true
	}
	return false
}

// Waiting reports that the job has not been begun.
func (s State) Waiting() bool { return s == Queued || s == Held }

// Active reports that a job, which is no array, holds its slots.
func (s State) Active() bool {
	switch s {
	case Preparing, Running, Paused, Stopping:
		return true
	}
	return false
}

// Turn is what happens to a job's state.
type Turn string

// The turns.
const (
	ToBegin   Turn = "begin" // a run of it is decided
	ToHold    Turn = "hold"
	ToRelease Turn = "release"
	ToRun     Turn = "run" // its main process runs
	ToPause   Turn = "pause"
	ToResume  Turn = "resume"
	ToStop    Turn = "stop"  // it is told to end, or others live after its main process
	ToAgain   Turn = "again" // its run has ended, and there will be another one by itself
	ToRetry   Turn = "retry" // somebody wants another run of what is done

	ToSucceed Turn = "succeed"
	ToFail    Turn = "fail"
	ToCancel  Turn = "cancel" // of what waits; also the end of a run that was told to stop
	ToTimeOut Turn = "time out"
	ToLose    Turn = "lose"

	ToSpread Turn = "spread" // of an array: each element has a job of its own, or never will
	ToRefill Turn = "refill" // of an array: cancelled elements that never had a job of their own wait again
)

// turns says where each turn leads from which states. What is not in it can't happen.
var turns = map[Turn]map[State]State{
	ToBegin:   {Queued: Preparing},
	ToHold:    {Queued: Held},
	ToRelease: {Held: Queued},
	ToRun:     {Preparing: Running},
	ToPause:   {Running: Paused},
	ToResume:  {Paused: Running},
	ToStop:    {Preparing: Stopping, Running: Stopping, Paused: Stopping},
	ToAgain:   {Preparing: Queued, Running: Queued, Paused: Queued, Stopping: Queued},
	ToRetry:   {Failed: Queued, Cancelled: Queued, TimedOut: Queued, Lost: Queued},
	ToSucceed: {Preparing: Succeeded, Running: Succeeded, Paused: Succeeded, Stopping: Succeeded},
	ToFail:    {Preparing: Failed, Running: Failed, Paused: Failed, Stopping: Failed},
	ToCancel: {Queued: Cancelled, Held: Cancelled,
		Preparing: Cancelled, Running: Cancelled, Paused: Cancelled, Stopping: Cancelled},
	ToTimeOut: {Preparing: TimedOut, Running: TimedOut, Paused: TimedOut, Stopping: TimedOut},
	ToLose:    {Preparing: Lost, Running: Lost, Paused: Lost, Stopping: Lost},
	ToSpread: {Queued: Running, Held: Running,
		Succeeded: Running, Failed: Running, Cancelled: Running, TimedOut: Running, Lost: Running},
	ToRefill: {Running: Queued, Failed: Queued, Cancelled: Queued, TimedOut: Queued, Lost: Queued},
}

// Step is the only function that changes states. Its error says what can't be done with a job in that state.
func Step(s State, t Turn) (State, error) {
	to, ok := turns[t][s]
	if !ok {
		return s, &StepError{State: s, Turn: t}
	}
	return to, nil
}

// StepError is a turn that can't be made.
type StepError struct {
	State State
	Turn  Turn
}

func (e *StepError) Error() string {
	if e.Turn == ToRetry && e.State == Succeeded {
		return "a job that " + WhyNot(e.State, string(e.Turn)) + " (submit it anew)"
	}
	return fmt.Sprintf("a job that is %s can't %s", e.State, e.Turn)
}

// End is the turn by which a run ends of which no process is left: its cause says it.
func (s Status) End() Turn {
	switch s.Cause {
	case ByCancel, ByDependency:
		return ToCancel
	case ByTimeout:
		return ToTimeOut
	case ByLoss:
		return ToLose
	case ByExit:
		if s.ExitCode != nil && *s.ExitCode == 0 {
			return ToSucceed
		}
	}
	return ToFail
}

// Backoff is how long a job waits before it runs again by itself, the n-th time (from 1): 5 s, 10 s and so on up to
// 5 minutes.
func Backoff(n int) time.Duration {
	const first, most = 5 * time.Second, 5 * time.Minute
	if n > 6 {
		return most
	}
	return min(first<<max(n-1, 0), most)
}

// States are all of them.
var States = []State{Queued, Held, Preparing, Running, Paused, Stopping, Succeeded, Failed, Cancelled, TimedOut, Lost}

package queue

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var allStates = []State{Queued, Held, Preparing, Running, Paused, Stopping,
	Succeeded, Failed, Cancelled, TimedOut, Lost}

var allTurns = []Turn{ToBegin, ToHold, ToRelease, ToRun, ToPause, ToResume, ToStop, ToAgain, ToRetry, ToSucceed, ToFail,
	ToCancel, ToTimeOut, ToLose, ToSpread, ToRefill}

// TestStep goes through every state and every turn; a dot can't be.
func TestStep(t *testing.T) {
	table := `
		          begin     hold retry_ release run     pause  resume  stop     again  spread  refill succeed   fail   cancel    time_out  lost
		queued    preparing held .      .       .       .      .       .        .      running .      .         .      cancelled .         .
		held      .         .    .      queued  .       .      .       .        .      running .      .         .      cancelled .         .
		preparing .         .    .      .       running .      .       stopping queued .       .      succeeded failed cancelled timed_out lost
		running   .         .    .      .       .       paused .       stopping queued .       queued succeeded failed cancelled timed_out lost
		paused    .         .    .      .       .       .      running stopping queued .       .      succeeded failed cancelled timed_out lost
		stopping  .         .    .      .       .       .      .       .        queued .       .      succeeded failed cancelled timed_out lost
		succeeded .         .    .      .       .       .      .       .        .      running .      .         .      .         .         .
		failed    .         .    queued .       .       .      .       .        .      running queued .         .      .         .         .
		cancelled .         .    queued .       .       .      .       .        .      running queued .         .      .         .         .
		timed_out .         .    queued .       .       .      .       .        .      running queued .         .      .         .         .
		lost      .         .    queued .       .       .      .       .        .      running queued .         .      .         .         .`
	lines := strings.Split(strings.TrimSpace(table), "\n")
	heads := []Turn{ToBegin, ToHold, ToRetry, ToRelease, ToRun, ToPause, ToResume, ToStop, ToAgain, ToSpread, ToRefill,
		ToSucceed, ToFail, ToCancel, ToTimeOut, ToLose}
	require.ElementsMatch(t, allTurns, heads)
	require.Len(t, lines, len(allStates)+1)
	require.Len(t, turns, len(allTurns), "a turn is missing here")
	for i, line := range lines[1:] {
		f := strings.Fields(line)
		require.Equal(t, string(allStates[i]), f[0])
		require.Len(t, f, len(heads)+1)
		for j, want := range f[1:] {
			got, err := Step(allStates[i], heads[j])
			if want == "." {
				require.ErrorAs(t, err, new(*StepError), "%s %s", f[0], heads[j])
				require.Equal(t, allStates[i], got)
				continue
			}
			require.NoError(t, err, "%s %s", f[0], heads[j])
			require.Equal(t, State(want), got, "%s %s", f[0], heads[j])
		}
	}
	_, err := Step(Succeeded, ToPause)
	require.EqualError(t, err, "a job that is succeeded can't pause")
	require.Equal(t, "is timed out: only what waits is held", WhyNot(TimedOut, "hold"))
	require.Equal(t, "has failed: only what is paused goes on", WhyNot(Failed, "resume"))
	require.Equal(t, "is held: only what is done, and did not succeed, is run again", WhyNot(Held, "retry"))
}

func TestStatesAreOfOneKind(t *testing.T) {
	for _, s := range allStates {
		kinds := 0
		for _, is := range []bool{s.Waiting(), s.Active(), s.Done()} {
			if is {
				kinds++
			}
		}
		require.Equal(t, 1, kinds, s)
	}
}

func TestEndings(t *testing.T) {
	for s, want := range map[State]string{
		Succeeded: "true true false", Failed: "false true true", Cancelled: "false true false", TimedOut: "false true true",
		Lost: "false true true", Running: "false false false", Stopping: "false false false", Queued: "false false false",
	} {
		require.Equal(t, want, fmt.Sprint(Success.Met(s), Any.Met(s), Failure.Met(s)), s)
	}
}

func TestEndIsReadFromTheCause(t *testing.T) {
	code := func(n int) *int { return &n }
	for _, c := range []struct {
		status Status
		want   Turn
	}{
		{Status{Cause: ByExit, ExitCode: code(0)}, ToSucceed},
		{Status{Cause: ByExit, ExitCode: code(3)}, ToFail},
		{Status{Cause: ByExit}, ToFail},
		{Status{Cause: BySignal, Signal: "KILL"}, ToFail},
		{Status{Cause: ByStart, ExitCode: code(127)}, ToFail},
		{Status{Cause: ByCancel, ExitCode: code(0)}, ToCancel},
		{Status{Cause: ByDependency}, ToCancel},
		{Status{Cause: ByTimeout, ExitCode: code(0)}, ToTimeOut},
		{Status{Cause: ByLoss}, ToLose},
	} {
		require.Equal(t, c.want, c.status.End(), c.status)
	}
}

func TestTally(t *testing.T) {
	var tally Tally
	for i, s := range []State{Succeeded, Cancelled, TimedOut, Lost, Failed} { // from the best to the worst
		*tally.Of(s)++
		require.Equal(t, i+1, tally.Done())
		got, err := Step(Running, tally.End())
		require.NoError(t, err)
		require.Equal(t, s, got)
	}
	require.Panics(t, func() { tally.Of(Running) })
}

func TestBackoff(t *testing.T) {
	var got []string
	for _, n := range []int{0, 1, 2, 3, 6, 7, 8, 1 << 40} {
		got = append(got, Backoff(n).Round(time.Second).String())
	}
	require.Equal(t, "5s 5s 10s 20s 2m40s 5m0s 5m0s 5m0s", strings.Join(got, " "))
}

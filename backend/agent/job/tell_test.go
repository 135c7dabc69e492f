package job

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/job/notify"
	"berth/queue"
)

// telling is a teller of a loop, with a file of hooks in the home of dir.
func telling(t *testing.T, l *loop, dir, hooks string) func() {
	t.Helper()
	path := notify.Path(dir)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(hooks), 0o600))
	x := &teller{l: l, path: path, home: dir, name: "vision", backoff: func(int) time.Duration { return 10 * time.Millisecond },
		slots: make(chan struct{}, tellsAtOnce)}
	x.event = func(text string) { t.Log(text) }
	x.environ = func(context.Context) []string { return []string{"PATH=" + os.Getenv("PATH")} }
	x.begin(contained)
	stop := sync.OnceFunc(x.stop)
	t.Cleanup(stop)
	return stop
}

// told is what the hooks of a test have written, a line for each.
func told(t *testing.T, dir string) []string {
	b, err := os.ReadFile(filepath.Join(dir, "told"))
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// ends waits until a job was begun, and says how it ended.
func (r *recorder) ends(t *testing.T, l *loop, id queue.ID, attempt, exit int) {
	t.Helper()
	eventually(t, "it starts", func() bool { j, err := l.job(t.Context(), id); return err == nil && j.Attempt == attempt })
	l.emit(queue.Event{ID: id, Attempt: attempt, Ended: &queue.Ended{At: time.Now(), Exit: exit}})
}

const hooks = `[notify.good]
command = "echo good $BERTH_JOB_ID $BERTH_JOB_STATE >>told"
[notify.bad]
command = "echo bad >>told; exit 9 # TOKEN"
[notify.slow]
command = "echo $$ >>told; sleep 1000"
`

// Each end is told once, by whichever agent, and what is in vain is tried so often and then said.
func TestEndsAreTold(t *testing.T) {
	dir, home := t.TempDir(), t.TempDir()
	l, r, stop := opened(t, dir)
	s := spec("true")
	s.Notify = []string{"good", "bad"}
	id := submitted(t, l, s)
	r.ends(t, l, id, 1, 3)
	eventually(t, "it has failed", func() bool { j, err := l.job(t.Context(), id); return err == nil && j.State == queue.Failed })
	j, err := l.job(t.Context(), id)
	require.NoError(t, err)
	require.Len(t, j.Owed, 2, "nobody tells yet")
	stop() // this agent never came to it

	l, r, _ = opened(t, dir)
	leave := telling(t, l, home, hooks)
	eventually(t, "all is told, or given up", func() bool { j, err := l.job(t.Context(), id); return err == nil && len(j.Owed) == 0 })
	leave()
	count := map[string]int{}
	for _, line := range told(t, home) {
		count[line]++
	}
	require.Equal(t, map[string]int{"good 1 failed": 1, "bad": notify.Tries}, count)
	v, err := l.one(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, []string{"bad was not told of its end: its command ended with exit code 9"}, v.Warnings)
	require.Equal(t, []string{"good", "bad"}, v.Notify)
	due, next, err := l.journal.Due(t.Context(), time.Now().Add(time.Hour), 10)
	require.NoError(t, err)
	require.Empty(t, due)
	require.Zero(t, next)

	// Another run has another end, and an array one.
	s.Notify = []string{"good"}
	again := submitted(t, l, s)
	r.ends(t, l, again, 1, 1)
	a := s
	a.Array = &queue.Array{Ranges: []queue.Range{{First: 0, Last: 1, Step: 1}}}
	array := submitted(t, l, a)
	telling(t, l, home, hooks)
	for i := range 2 {
		r.ends(t, l, array.At(i), 1, 0)
	}
	has := func(line string) func() bool {
		return func() bool { return strings.Contains(strings.Join(told(t, home), "\n"), line) }
	}
	eventually(t, "its first end is told", has("good 2 failed"))
	eventually(t, "the array's is", has("good 3 succeeded"))
	eventually(t, "that is noted", func() bool { j, err := l.job(t.Context(), again); return err == nil && len(j.Owed) == 0 })
	require.NoError(t, l.tell(t.Context(), again, "retry", "", "me"))
	r.ends(t, l, again, 2, 0)
	eventually(t, "its second end is told", has("good 2 succeeded"))
	require.Len(t, told(t, home), 2+notify.Tries+2, "elements are not told of, and nothing twice")
}

// A hook that hangs holds up neither the queue nor other hooks, and is ended when the agent leaves; what it was to tell
// is still owed then.
func TestAHookThatHangs(t *testing.T) {
	dir, home := t.TempDir(), t.TempDir()
	l, r, _ := opened(t, dir)
	leave := telling(t, l, home, hooks)
	s := spec("true")
	s.Notify = []string{"slow"}
	slow := submitted(t, l, s)
	r.ends(t, l, slow, 1, 0)
	eventually(t, "it is called", func() bool { return len(told(t, home)) == 1 })
	s.Notify = []string{"good"}
	good := submitted(t, l, s)
	r.ends(t, l, good, 1, 0)
	eventually(t, "another one is told", func() bool { return len(told(t, home)) == 2 })
	begun := time.Now()
	leave()
	require.Less(t, time.Since(begun), time.Minute)
	j, err := l.job(t.Context(), slow)
	require.NoError(t, err)
	require.Len(t, j.Owed, 1)
	require.Equal(t, 1, j.Owed[0].Tries)
	require.Error(t, l.tell(t.Context(), good, "hold", "", "me"), "the queue answers")

	// What is forgotten or runs again is owed to nobody.
	require.NoError(t, l.remove(t.Context(), slow))
	due, _, err := l.journal.Due(t.Context(), time.Now().Add(time.Hour), 10)
	require.NoError(t, err)
	require.Empty(t, due)
}

// A file that can't be used, or has the name no more, is said with the job.
func TestWhatCannotBeTold(t *testing.T) {
	l, r, _ := opened(t, t.TempDir())
	home := t.TempDir()
	telling(t, l, home, "[notify.other]\ncommand = 'true'\n")
	s := spec("true")
	s.Notify = []string{"gone"}
	id := submitted(t, l, s)
	r.ends(t, l, id, 1, 0)
	eventually(t, "it is given up", func() bool {
		j, err := l.job(t.Context(), id)
		return err == nil && len(j.Owed) == 0 && j.State.Done()
	})
	v, err := l.one(t.Context(), id)
	require.NoError(t, err)
	require.Len(t, v.Warnings, 1)
	require.Contains(t, v.Warnings[0], `"gone" can be told`)
}

// The rules are asked at each end whom to tell beside those whom the job names: once each, by whichever agent. One that
// is wrong is said with the job, and loses nothing else.
func TestEndsAreToldByRule(t *testing.T) {
	dir, home := t.TempDir(), t.TempDir()
	const rules = hooks + `[notify.other]
command = "echo other $BERTH_JOB_ID $BERTH_JOB_STATE >>told"
[[rules]]
notify = ["good", "other"]
states = ["failed", "cancelled"]
[[rules]]
notify = "nobody"
[[rules]]
notify = "good"
group = "big"
`
	path := notify.Path(home)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(rules), 0o600))
	l, r, stop := opened(t, dir)
	l.rules.lookAt(path)
	s := spec("true")
	s.Notify = []string{"good"}
	both := submitted(t, l, s)
	r.ends(t, l, both, 1, 3)
	eventually(t, "it has failed", func() bool { j, err := l.job(t.Context(), both); return err == nil && j.State == queue.Failed })
	stop() // this agent never came to it

	l, r, _ = opened(t, dir)
	l.rules.lookAt(path)
	telling(t, l, home, rules)
	s.Notify = nil
	fine, big := submitted(t, l, s), s
	big.Group = "big"
	grouped := submitted(t, l, big)
	s.Hold = true
	held := submitted(t, l, s)
	require.NoError(t, l.tell(t.Context(), held, "cancel", "", "me"))
	r.ends(t, l, fine, 1, 0)
	r.ends(t, l, grouped, 1, 0)
	eventually(t, "all is told", func() bool {
		for _, id := range []queue.ID{both, fine, grouped, held} {
			if j, err := l.job(t.Context(), id); err != nil || !j.State.Done() || len(j.Owed) > 0 {
				return false
			}
		}
		return true
	})
	require.ElementsMatch(t, []string{"good 1 failed", "other 1 failed", "good 3 succeeded", "good 4 cancelled",
		"other 4 cancelled"}, told(t, home))
	v, err := l.one(t.Context(), both)
	require.NoError(t, err)
	require.Equal(t, []string{"good", "other"}, v.Notify)
	require.Equal(t, []string{path + ", rule 2: notify: there is no [notify.nobody] in the file: it is not used"}, v.Warnings)

	// Another run has warnings of its own.
	require.NoError(t, os.WriteFile(path, []byte(hooks), 0o600))
	require.NoError(t, l.tell(t.Context(), both, "retry", "", "me"))
	l.rules.look()
	r.ends(t, l, both, 2, 0)
	eventually(t, "it has ended once more", func() bool {
		v, err = l.one(t.Context(), both)
		return err == nil && v.State.Done() && slices.Contains(told(t, home), "good 1 succeeded")
	})
	require.Empty(t, v.Warnings)
	require.Equal(t, []string{"good"}, v.Notify)

	// A file that can't be used is tried again: who mends it within the tries loses nothing.
	require.NoError(t, os.WriteFile(path, []byte("[[rules]"), 0o600))
	late := submitted(t, l, spec("true"))
	r.ends(t, l, late, 1, 3)
	eventually(t, "it is given up", func() bool {
		j, err := l.job(t.Context(), late)
		return err == nil && len(j.Owed) == 0 && j.State.Done()
	})
	v, err = l.one(t.Context(), late)
	require.NoError(t, err)
	require.Len(t, v.Warnings, 1)
	require.Contains(t, v.Warnings[0], "who is to be told by rule was not told of its end: "+path+":1:")
}

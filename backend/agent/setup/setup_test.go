package setup

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/process"
	"berth/backend/agent/root"
	"berth/backend/api"
	"berth/backend/base/atomicfile"
	"berth/gpu/procs/proc"
)

// The test binary plays the runner, and the agent that is killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "setup-step":
			os.Exit(Main(os.Args[2:]))
		case "root":
			os.Exit(root.Main(os.Args[2:], os.Stdout, os.Stderr))
		case "engine":
			engineMain(os.Args[2], os.Args[3])
		}
	}
	agenttest.OnlyTests()
	os.Exit(m.Run())
}

// mark is in the environment of every step of this run of the tests, so that none outlives them.
var mark = fmt.Sprintf("SETUP_TEST_MARK=%d", os.Getpid())

func options(dir string) Options {
	exe, _ := os.Executable()
	return Options{Dir: dir, Root: root.Caller{Program: []string{exe, "root"}}, Work: dir, Poll: 5 * time.Millisecond,
		Grace: 300 * time.Millisecond, Settle: 100 * time.Millisecond, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Runner: func(folder, step, attempt string) []string {
			return []string{exe, "setup-step", folder, step, attempt}
		},
		Env: func(_ context.Context, ofRoot bool) ([]string, bool) {
			return []string{"PATH=" + root.DefaultPath, "OUT=" + filepath.Dir(dir), fmt.Sprintf("ROOT=%v", ofRoot), mark}, true
		},
	}
}

// engineMain is an agent with nothing but an engine: it ends when it is killed.
func engineMain(dir, boot string) {
	o := options(dir)
	o.Boot = boot
	o.Reboot = func(context.Context) error {
		fmt.Println("reboot")
		return nil
	}
	o.Changed = func(st api.SetupStatus) {
		b, _ := json.Marshal(st)
		fmt.Println(string(b))
	}
	e, err := Open(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if b, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "put.json")); err == nil {
		var p api.SetupPlan
		if json.Unmarshal(b, &p) == nil {
			if _, err := e.Put(p); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
	for _, p := range e.plans {
		o.Changed(p.status())
	}
	e.Start()
	select {}
}

// folder is one for an engine; $OUT of its steps is the folder above.
func folder(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), "setup")
	require.NoError(t, os.Mkdir(dir, 0o700))
	t.Cleanup(func() { // whatever a failed test left
		_, _ = process.Set{Mark: "OUT=" + filepath.Dir(dir)}.End(context.Background(), 0, nil)
	})
	return dir
}

func open(t *testing.T, o Options) *Engine {
	t.Helper()
	e, err := Open(o)
	require.NoError(t, err)
	e.Start()
	t.Cleanup(e.Stop)
	return e
}

// wait follows a set-up until ok holds.
func wait(t *testing.T, e *Engine, id string, ok func(api.SetupStatus) bool) api.SetupStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	after := int64(0)
	for {
		st, err := e.Get(ctx, id, after)
		if err != nil {
			t.Fatalf("waiting for the set-up %s: %v; it is %+v", id, err, st)
		}
		if ok(st) {
			return st
		}
		after = st.Revision
	}
}

func done(st api.SetupStatus) bool { return st.State.Done() }

func plan1(id string, steps ...api.SetupStep) api.SetupPlan {
	for i := range steps {
		if steps[i].Name == "" {
			steps[i].Name = fmt.Sprintf("s%d", i)
		}
	}
	return api.SetupPlan{ID: id, Steps: steps}
}

// lines are those of a file that steps write; none also while it is there and empty.
func lines(t *testing.T, dir, name string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(filepath.Dir(dir), name))
	if os.IsNotExist(err) || err == nil && len(b) == 0 {
		return nil
	}
	require.NoError(t, err)
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

func TestStepsRunInOrderOnceEach(t *testing.T) {
	dir := folder(t)
	e := open(t, options(dir))
	_, err := e.Put(plan1("a",
		api.SetupStep{Title: "First", Script: "echo one $V $DEBIAN_FRONTEND >>$OUT/log; true | cat; (sleep 0.01; exit 0) | :",
			Env: []string{"V=a b'c"}},
		api.SetupStep{Script: "echo never >>$OUT/log", Check: "test -s $OUT/log"},
		api.SetupStep{Script: "#!/bin/bash\necho [[ three ]] | tee -a $OUT/log; yes | head -1 >/dev/null"}))
	require.NoError(t, err)
	st := wait(t, e, "a", done)
	require.Equal(t, api.OpSucceeded, st.State, "%+v", st)
	require.Equal(t, []string{"one a b'c noninteractive", "[[ three ]]"}, lines(t, dir, "log"))
	require.Equal(t, "First", st.Steps[0].Title)
	require.Equal(t, "nothing to do", st.Steps[1].Message)
	require.NotNil(t, st.EndedAt)
	_, err = e.Get(t.Context(), "b", 0)
	require.ErrorIs(t, err, &api.Error{Code: api.CodeNotFound})
	again, err := e.Put(plan1("a", api.SetupStep{Script: "echo another >>$OUT/log"}))
	require.NoError(t, err)
	require.Equal(t, st.Revision, again.Revision, "the same id begins nothing")
	again, err = e.Resume("a")
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, again.State)
}

func TestThePreludeStandsBeforeThoseThatWantIt(t *testing.T) {
	dir := folder(t)
	e := open(t, options(dir))
	p := plan1("a", api.SetupStep{Prelude: true, Check: "say checked; false", Script: "say hello"},
		api.SetupStep{Script: "! type say >/dev/null 2>&1"})
	p.Prelude = "say() { echo \"$1\" >>$OUT/log; }"
	_, err := e.Put(p)
	require.NoError(t, err)
	st := wait(t, e, "a", done)
	require.Equal(t, api.OpSucceeded, st.State, "%+v", st)
	require.Equal(t, []string{"checked", "hello"}, lines(t, dir, "log"))
}

func TestTwoClientsPutTheSamePlanAtOnce(t *testing.T) {
	dir := folder(t)
	e := open(t, options(dir))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := e.Put(plan1("a", api.SetupStep{Script: "echo x >>$OUT/log"})); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, api.OpSucceeded, wait(t, e, "a", done).State)
	require.Equal(t, []string{"x"}, lines(t, dir, "log"))
}

func TestPlansRunOneAfterTheOther(t *testing.T) {
	dir := folder(t)
	e := open(t, options(dir))
	for i := range 3 {
		_, err := e.Put(plan1(fmt.Sprint("p", i),
			api.SetupStep{Script: fmt.Sprintf("echo b%d >>$OUT/log; sleep 0.1; echo e%d >>$OUT/log", i, i)}))
		require.NoError(t, err)
	}
	wait(t, e, "p2", done)
	require.Equal(t, []string{"b0", "e0", "b1", "e1", "b2", "e2"}, lines(t, dir, "log"))
	require.False(t, e.Busy())
}

func TestAFailedStepSaysWhyAndIsResumed(t *testing.T) {
	dir := folder(t)
	e := open(t, options(dir))
	_, err := e.Put(plan1("a",
		api.SetupStep{Script: "echo one >>$OUT/log"},
		api.SetupStep{Name: "cuda.toolkit", Title: "CUDA",
			Script: "echo \"begin\"; test -e $OUT/mended || { printf 'E: no \\033[31mkey\\033[0m\\n\\377\\000\\n' >&2; exit 7; }; echo two >>$OUT/log"},
		api.SetupStep{Script: "echo three >>$OUT/log"}))
	require.NoError(t, err)
	st := wait(t, e, "a", done)
	require.Equal(t, api.OpFailed, st.State)
	require.Equal(t, api.CodeFailed, st.Error.Code)
	require.Equal(t, "the step cuda.toolkit (CUDA) ended with code 7: ?", st.Error.Message)
	require.Equal(t, "begin\nE: no key\n?", st.Log)
	require.FileExists(t, st.LogPath)
	require.Equal(t, []api.OpState{api.OpSucceeded, api.OpFailed, api.OpPending}, states(st))
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(dir), "mended"), nil, 0o600))
	st, err = e.Resume("a")
	require.NoError(t, err)
	require.Equal(t, api.OpRunning, st.State)
	require.Equal(t, api.OpSucceeded, wait(t, e, "a", done).State)
	require.Equal(t, []string{"one", "two", "three"}, lines(t, dir, "log"))
}

// TestALogIsOfTheLastAttempt: what earlier ones said stays in the file.
func TestALogIsOfTheLastAttempt(t *testing.T) {
	dir := folder(t)
	e := open(t, options(dir))
	_, err := e.Put(plan1("a", api.SetupStep{Script: `n=$(cat $OUT/n 2>/dev/null || echo 0); n=$((n+1)); echo $n >$OUT/n; test $n = 3 && exit 4; echo "try $n"; exit 4`}))
	require.NoError(t, err)
	st := wait(t, e, "a", done)
	require.Equal(t, "try 1", st.Log)
	_, err = e.Resume("a")
	require.NoError(t, err)
	st = wait(t, e, "a", done)
	require.Equal(t, "try 2", st.Log)
	require.Contains(t, st.Error.Message, "code 4: try 2")
	_, err = e.Resume("a")
	require.NoError(t, err)
	st = wait(t, e, "a", done)
	require.Empty(t, st.Log)
	require.NotContains(t, st.Error.Message, "try")
	b, err := os.ReadFile(st.LogPath)
	require.NoError(t, err)
	require.Equal(t, "try 1\ntry 2\n", string(b))

	// One that was begun by an agent that did not note it.
	var who started
	run := stepFile(filepath.Join(dir, "a"), 0, 3, "run")
	require.NoError(t, atomicfile.Read(run, &who))
	require.EqualValues(t, len(b), who.Log)
	who.Log = 0
	require.NoError(t, atomicfile.Write(run, who))
	text, _ := attemptTail(filepath.Join(dir, "a"), 0, 3)
	require.Equal(t, "try 1\ntry 2", text)
	require.NoError(t, os.Truncate(st.LogPath, 6))
	who.Log = 12
	require.NoError(t, atomicfile.Write(run, who))
	text, _ = attemptTail(filepath.Join(dir, "a"), 0, 3)
	require.Equal(t, "try 1", text, "of a log that was shortened")
}

func states(st api.SetupStatus) (out []api.OpState) {
	for _, s := range st.Steps {
		out = append(out, s.State)
	}
	return out
}

func TestAStepThatHangsIsEndedWithItsChildren(t *testing.T) {
	dir := folder(t)
	e := open(t, options(dir))
	_, err := e.Put(plan1("a", api.SetupStep{LimitSeconds: 0.3,
		Script: "trap '' TERM; setsid sh -c 'echo $$ >$OUT/far; exec sleep 1000' & echo $$ >$OUT/pid; echo waits; sleep 1000 & wait; sleep 1000"}))
	require.NoError(t, err)
	st := wait(t, e, "a", done)
	require.Equal(t, api.OpFailed, st.State)
	require.Contains(t, st.Error.Message, "took longer than 300ms and was ended: waits")
	for _, f := range []string{"pid", "far"} {
		var pid int
		_, err := fmt.Sscan(lines(t, dir, f)[0], &pid)
		require.NoError(t, err)
		_, err = proc.Identify(pid)
		require.ErrorIs(t, err, proc.ErrGone, "the process of %s", f)
	}
}

func TestWhatAStepLeavesInTheBackgroundGoesOn(t *testing.T) {
	dir := folder(t)
	e := open(t, options(dir))
	_, err := e.Put(plan1("a", api.SetupStep{Script: "sleep 1000 >/dev/null 2>&1 & echo $! >$OUT/pid"}))
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, wait(t, e, "a", done).State)
	var pid int
	_, err = fmt.Sscan(lines(t, dir, "pid")[0], &pid)
	require.NoError(t, err)
	id, err := proc.Identify(pid)
	require.NoError(t, err)
	require.NoError(t, id.Signal(syscall.SIGKILL))
}

func TestCancelEndsTheStep(t *testing.T) {
	dir := folder(t)
	e := open(t, options(dir))
	_, err := e.Put(plan1("a", api.SetupStep{Script: "echo $$ >$OUT/pid; sleep 1000"},
		api.SetupStep{Script: "echo never >>$OUT/log"}))
	require.NoError(t, err)
	_, err = e.Put(plan1("b", api.SetupStep{Script: "echo b >>$OUT/log"}))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return lines(t, dir, "pid") != nil }, 2*time.Minute, 5*time.Millisecond)
	st, err := e.Cancel(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, api.OpCancelled, st.State)
	require.Equal(t, []api.OpState{api.OpCancelled, api.OpPending}, states(st))
	var pid int
	_, err = fmt.Sscan(lines(t, dir, "pid")[0], &pid)
	require.NoError(t, err)
	_, err = proc.Identify(pid)
	require.ErrorIs(t, err, proc.ErrGone)
	require.Equal(t, api.OpSucceeded, wait(t, e, "b", done).State)
	require.Equal(t, []string{"b"}, lines(t, dir, "log"))
}

func TestMuchOutputIsKeptShortInTheStatus(t *testing.T) {
	dir := folder(t)
	e := open(t, options(dir))
	_, err := e.Put(plan1("a", api.SetupStep{Script: "head -c 10000000 /dev/urandom; printf '\\n10%%\\r90%%\\r100%%\\nlast\\n'; exit 3"}))
	require.NoError(t, err)
	st := wait(t, e, "a", done)
	require.Contains(t, st.Error.Message, "code 3: last")
	require.LessOrEqual(t, len(st.Log), 4<<10)
	require.True(t, strings.HasSuffix(st.Log, "100%\nlast"), "%q", st.Log)
	require.NotContains(t, st.Log, "\x1b")
	_, err = json.Marshal(st)
	require.NoError(t, err)
}

func TestHostileNamesAreRefused(t *testing.T) {
	dir := folder(t)
	e := open(t, options(dir))
	ok := api.SetupStep{Name: "s", Script: "true"}
	for _, p := range []api.SetupPlan{
		{ID: "", Steps: []api.SetupStep{ok}}, {ID: "../../etc", Steps: []api.SetupStep{ok}},
		{ID: ".", Steps: []api.SetupStep{ok}}, {ID: "a/b", Steps: []api.SetupStep{ok}},
		{ID: "a\n", Steps: []api.SetupStep{ok}}, {ID: strings.Repeat("x", 101), Steps: []api.SetupStep{ok}}, {ID: "a"},
		{ID: "a", Steps: []api.SetupStep{ok, ok}}, {ID: "a", Steps: []api.SetupStep{{Name: "../s"}}},
		{ID: "a", Steps: []api.SetupStep{{Name: "s", Script: "a\x00b"}}},
		{ID: "a", Steps: []api.SetupStep{{Name: "s", Env: []string{"A B=1"}}}},
		{ID: "a", Steps: []api.SetupStep{{Name: "s", Env: []string{"LD\n=1"}}}},
		{ID: "a", Steps: []api.SetupStep{{Name: "s", LimitSeconds: -1}}},
		{ID: "a", Steps: []api.SetupStep{{Name: "s", Script: strings.Repeat("x", 2<<20)}}},
	} {
		_, err := e.Put(p)
		require.ErrorIs(t, err, &api.Error{Code: api.CodeUsage}, "%.80v", p)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
	// Titles and values may be anything.
	_, err = e.Put(plan1("a", api.SetupStep{Title: "\x1b]0;x\x07'$(touch x)", Script: "printf %s \"$V\" >$OUT/log",
		Env: []string{"V='\"$(touch $OUT/evil)\n`id`"}}))
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, wait(t, e, "a", done).State)
	require.Equal(t, []string{"'\"$(touch $OUT/evil)", "`id`"}, lines(t, dir, "log"))
	require.Nil(t, lines(t, dir, "evil"))
}

func TestOldPlansAreForgotten(t *testing.T) {
	dir := folder(t)
	e := open(t, options(dir))
	_, err := e.Put(plan1("failed", api.SetupStep{Script: "exit 1"}))
	require.NoError(t, err)
	wait(t, e, "failed", done)
	for i := range keep + 3 {
		id := fmt.Sprintf("p%02d", i)
		_, err := e.Put(plan1(id, api.SetupStep{Script: ":"}))
		require.NoError(t, err)
		wait(t, e, id, done)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, keep)
	_, err = e.Get(t.Context(), "p00", 0)
	require.ErrorIs(t, err, &api.Error{Code: api.CodeNotFound})
	_, err = e.Get(t.Context(), "failed", 0)
	require.NoError(t, err, "what can be resumed stays")
}

// agentProc is an engine in a process of its own.
type agentProc struct {
	cmd *exec.Cmd
	out *bufio.Scanner
}

func startAgent(t *testing.T, dir, boot string) *agentProc {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe, "engine", dir, boot)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	a := &agentProc{cmd: cmd, out: bufio.NewScanner(out)}
	a.out.Buffer(nil, 1<<20)
	t.Cleanup(a.kill)
	return a
}

// kill is kill -9.
func (a *agentProc) kill() {
	_ = a.cmd.Process.Kill()
	_ = a.cmd.Wait()
}

// until reads what the engine says until a status fulfils ok, or it says "reboot" and ok is nil.
func (a *agentProc) until(t *testing.T, ok func(api.SetupStatus) bool) (st api.SetupStatus) {
	t.Helper()
	limit := time.AfterFunc(60*time.Second, a.kill)
	defer limit.Stop()
	for a.out.Scan() {
		if a.out.Text() == "reboot" {
			if ok == nil {
				return st
			}
			continue
		}
		st = api.SetupStatus{}
		require.NoError(t, json.Unmarshal(a.out.Bytes(), &st))
		if ok != nil && ok(st) {
			return st
		}
	}
	t.Fatalf("the engine ended; it said last: %+v", st)
	return st
}

func put(t *testing.T, dir string, p api.SetupPlan) {
	t.Helper()
	b, err := json.Marshal(p)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(dir), "put.json"), b, 0o600))
}

// BenchmarkSteps is what a step costs that has nothing to do.
func BenchmarkSteps(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "setup")
	require.NoError(b, os.Mkdir(dir, 0o700))
	o := options(dir)
	o.Poll = 0 // the usual one
	e, err := Open(o)
	require.NoError(b, err)
	e.Start()
	defer e.Stop()
	n := 0
	for b.Loop() {
		n++
		id := fmt.Sprint("p", n)
		_, err := e.Put(plan1(id, api.SetupStep{Check: "true", Script: "false"}))
		require.NoError(b, err)
		for after := int64(0); ; {
			st, err := e.Get(b.Context(), id, after)
			require.NoError(b, err)
			if st.State.Done() {
				break
			}
			after = st.Revision
		}
	}
}

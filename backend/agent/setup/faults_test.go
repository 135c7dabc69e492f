package setup

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/process"
	"berth/backend/agent/root"
	"berth/backend/api"
	"berth/backend/base/atomicfile"
	"berth/gpu/procs/proc"
)

// TestTheAgentIsKilledInEachPhase kills the agent before, in and after a step; the next one goes on, and
// each step has run once.
func TestTheAgentIsKilledInEachPhase(t *testing.T) {
	p := plan1("a",
		api.SetupStep{Script: "echo one >>$OUT/log"},
		api.SetupStep{Once: true, Check: "echo c >>$OUT/checked; until test -e $OUT/pass; do sleep 0.01; done; false",
			Script: "echo two >>$OUT/log; until test -e $OUT/go; do sleep 0.01; done; echo end >>$OUT/log"},
		api.SetupStep{Script: "echo three >>$OUT/log"})
	for _, c := range []struct {
		name   string
		before bool // the plan is handed in before the first agent runs, which is killed at once
		in     string
	}{{name: "before", before: true}, {name: "check", in: "checked"}, {name: "script", in: "log"}} {
		t.Run(c.name, func(t *testing.T) {
			dir := folder(t)
			put(t, dir, p)
			file := func(n string) string { return filepath.Join(filepath.Dir(dir), n) }
			a := startAgent(t, dir, "b1")
			switch c.in {
			case "":
			case "log":
				require.NoError(t, os.WriteFile(file("pass"), nil, 0o600))
				require.Eventually(t, func() bool { return len(lines(t, dir, "log")) == 2 }, 2*time.Minute, time.Millisecond)
			default:
				require.Eventually(t, func() bool { return len(lines(t, dir, c.in)) > 0 }, 2*time.Minute, time.Millisecond)
			}
			a.kill()
			require.NoError(t, os.WriteFile(file("pass"), nil, 0o600))
			a = startAgent(t, dir, "b1")
			require.NoError(t, os.WriteFile(file("go"), nil, 0o600))
			st := a.until(t, done)
			require.Equal(t, api.OpSucceeded, st.State, "%+v", st)
			require.Equal(t, []string{"one", "two", "end", "three"}, lines(t, dir, "log"))
			require.Len(t, lines(t, dir, "checked"), 1, "a check that was under way is not begun again")
		})
	}
}

// TestTheAgentIsKilledAtAnyMoment kills it again and again while a plan of short steps runs.
func TestTheAgentIsKilledAtAnyMoment(t *testing.T) {
	dir := folder(t)
	var p api.SetupPlan
	p.ID = "a"
	var want []string
	for i := range 12 {
		p.Steps = append(p.Steps, api.SetupStep{Name: fmt.Sprint("s", i), Once: true,
			Script: fmt.Sprintf("echo %d >>$OUT/log", i)})
		want = append(want, fmt.Sprint(i))
	}
	put(t, dir, p)
	for i := range 25 {
		a := startAgent(t, dir, "b1")
		time.Sleep(time.Duration(7+13*i%40) * time.Millisecond) // some moment
		a.kill()
	}
	st := startAgent(t, dir, "b1").until(t, done)
	require.Equal(t, api.OpSucceeded, st.State, "%+v", st)
	require.Equal(t, want, lines(t, dir, "log"))
}

func TestAStepEndsWhileThereIsNoAgent(t *testing.T) {
	dir := folder(t)
	put(t, dir, plan1("a", api.SetupStep{Once: true,
		Script: "echo begun >>$OUT/log; until test -e $OUT/go; do sleep 0.01; done; echo fails; exit 9"}))
	a := startAgent(t, dir, "b1")
	require.Eventually(t, func() bool { return lines(t, dir, "log") != nil }, 2*time.Minute, time.Millisecond)
	a.kill()
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(dir), "go"), nil, 0o600))
	require.Eventually(t, func() bool { _, ok := readResult(stepFile(filepath.Join(dir, "a"), 0, 1, "code")); return ok },
		2*time.Minute, time.Millisecond)
	st := startAgent(t, dir, "b1").until(t, done)
	require.Contains(t, st.Error.Message, "ended with code 9: fails")
	require.Equal(t, []string{"begun"}, lines(t, dir, "log"))
}

// TestTheMachineRestartsInAStep: a step that may be repeated is checked and run again; one that must not
// be fails.
func TestTheMachineRestartsInAStep(t *testing.T) {
	for _, once := range []bool{false, true} {
		dir := folder(t)
		put(t, dir, plan1("a", api.SetupStep{Once: once, Check: "test -e $OUT/never",
			Script: "echo begun >>$OUT/log; test -e $OUT/second || sleep 1000"}))
		a := startAgent(t, dir, "b1")
		require.Eventually(t, func() bool { return lines(t, dir, "log") != nil }, 2*time.Minute, time.Millisecond)
		a.kill()
		lose(t, dir, 1)
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(dir), "second"), nil, 0o600))
		st := startAgent(t, dir, "b2").until(t, done)
		if once {
			require.Equal(t, "the step s0 was cut off by a restart of the machine and is not run a second time",
				st.Error.Message)
			require.Len(t, lines(t, dir, "log"), 1)
			continue
		}
		require.Equal(t, api.OpSucceeded, st.State, "%+v", st)
		require.Len(t, lines(t, dir, "log"), 2)
	}
}

// lose ends an attempt's processes as a loss of power does: nobody writes anything any more.
func lose(t *testing.T, dir string, attempt int) {
	t.Helper()
	var who started
	require.NoError(t, atomicfile.Read(stepFile(filepath.Join(dir, "a"), 0, attempt, "run"), &who))
	require.NoError(t, syscall.Kill(who.PID, syscall.SIGKILL))
	_, err := process.Set{Mark: "OUT=" + filepath.Dir(dir)}.End(t.Context(), 0, nil)
	require.NoError(t, err)
}

// TestTheMachineShutsDownInAStep: an orderly shutdown ends the step by signals before the agent.
func TestTheMachineShutsDownInAStep(t *testing.T) {
	for _, outer := range []bool{false, true} {
		dir := folder(t)
		put(t, dir, plan1("a", api.SetupStep{Script: "echo begun >>$OUT/log; test -e $OUT/second || sleep 1000"}))
		a := startAgent(t, dir, "b1")
		require.Eventually(t, func() bool { return lines(t, dir, "log") != nil }, 2*time.Minute, time.Millisecond)
		var who started
		require.NoError(t, atomicfile.Read(stepFile(filepath.Join(dir, "a"), 0, 1, "run"), &who))
		require.NoError(t, a.cmd.Process.Signal(syscall.SIGSTOP)) // it sees nothing of this
		if outer {
			require.NoError(t, syscall.Kill(who.PID, syscall.SIGTERM))
		} else {
			_, err := process.Set{Mark: "OUT=" + filepath.Dir(dir)}.End(t.Context(), time.Second, nil)
			require.NoError(t, err)
		}
		require.Eventually(t, func() bool { _, ok := readResult(stepFile(filepath.Join(dir, "a"), 0, 1, "code")); return ok },
			2*time.Minute, time.Millisecond)
		a.kill()
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(dir), "second"), nil, 0o600))
		st := startAgent(t, dir, "b2").until(t, done)
		require.Equal(t, api.OpSucceeded, st.State, "%+v", st)
		require.Len(t, lines(t, dir, "log"), 2)
	}
}

func TestAStepThatAlwaysRestartsTheMachineFailsInTheEnd(t *testing.T) {
	dir := folder(t)
	put(t, dir, plan1("a", api.SetupStep{Script: "echo begun >>$OUT/log; sleep 1000"}))
	for i := 1; ; i++ {
		a := startAgent(t, dir, fmt.Sprint("b", i))
		var st api.SetupStatus
		if i <= cutLimit {
			require.Eventually(t, func() bool { return len(lines(t, dir, "log")) == i }, 2*time.Minute, time.Millisecond)
			a.kill()
			lose(t, dir, i)
			continue
		}
		st = a.until(t, done)
		require.Equal(t, "the step s0 was cut off 3 times, at last by a restart of the machine", st.Error.Message)
		return
	}
}

func TestAKilledRunnerIsACutOff(t *testing.T) {
	for _, once := range []bool{false, true} {
		dir := folder(t)
		e := open(t, options(dir))
		_, err := e.Put(plan1("a", api.SetupStep{Once: once,
			Script: "echo $$ >>$OUT/log; test -e $OUT/second || { echo x >$OUT/second; sleep 1000; }"}))
		require.NoError(t, err)
		require.Eventually(t, func() bool { return lines(t, dir, "second") != nil }, 2*time.Minute, time.Millisecond)
		var who started
		require.NoError(t, atomicfile.Read(stepFile(filepath.Join(dir, "a"), 0, 1, "run"), &who))
		require.NoError(t, syscall.Kill(who.PID, syscall.SIGKILL))
		st := wait(t, e, "a", done)
		var pid int
		_, err = fmt.Sscan(lines(t, dir, "log")[0], &pid)
		require.NoError(t, err)
		_, err = proc.Identify(pid)
		require.ErrorIs(t, err, proc.ErrGone, "what the runner left was ended first")
		if once {
			require.Contains(t, st.Error.Message, "is not run a second time")
			continue
		}
		require.Equal(t, api.OpSucceeded, st.State, "%+v", st)
		require.Len(t, lines(t, dir, "log"), 2)
	}
}

func TestAPlannedRestart(t *testing.T) {
	dir := folder(t)
	p := plan1("a", api.SetupStep{Once: true, Reboot: true, Script: "echo driver >>$OUT/log"},
		api.SetupStep{Script: "echo after >>$OUT/log"})
	p.MayReboot = true
	put(t, dir, p)
	a := startAgent(t, dir, "b1")
	a.until(t, func(st api.SetupStatus) bool { return st.Rebooting })
	a.kill() // before or after the machine was asked: it is asked again
	a = startAgent(t, dir, "b1")
	a.until(t, nil)
	a.kill()
	require.Equal(t, []string{"driver"}, lines(t, dir, "log"))
	st := startAgent(t, dir, "b2").until(t, done)
	require.Equal(t, api.OpSucceeded, st.State, "%+v", st)
	require.False(t, st.Rebooting)
	require.Equal(t, []string{"driver", "after"}, lines(t, dir, "log"))
}

func TestARestartThatDoesNotComeIsSaid(t *testing.T) {
	dir := folder(t)
	o := options(dir)
	o.RebootLimit = 50 * time.Millisecond
	var did []string
	o.BeforeReboot = func(context.Context) { did = append(did, "arranged to come back") }
	o.Reboot = func(context.Context) error { did = append(did, "asked"); return nil }
	e := open(t, o)
	p := plan1("a", api.SetupStep{Reboot: true, Script: ":"})
	p.MayReboot = true
	_, err := e.Put(p)
	require.NoError(t, err)
	st := wait(t, e, "a", done)
	require.Contains(t, st.Error.Message, "was asked to restart after the step s0 and did not within 50ms")
	require.Equal(t, []string{"arranged to come back", "asked"}, did)
}

// TestAMachineThatMustNotBeRestartedWaits for somebody who does it; then the set-up goes on by itself.
func TestAMachineThatMustNotBeRestartedWaits(t *testing.T) {
	for _, may := range []bool{false, true} {
		dir := folder(t)
		o := options(dir)
		o.Boot = "b1"
		o.Reboot = func(context.Context) error { panic("restarted") }
		if may {
			o.NoReboot = "a restart of this computer stops the instance"
		}
		e := open(t, o)
		p := plan1("a", api.SetupStep{Reboot: true, Script: "echo x >>$OUT/log"}, api.SetupStep{Script: "echo y >>$OUT/log"})
		p.MayReboot = may
		_, err := e.Put(p)
		require.NoError(t, err)
		st := wait(t, e, "a", done)
		require.Equal(t, api.CodeConflict, st.Error.Code)
		require.Contains(t, st.Error.Message, "must be restarted before the set-up can go on")
		_, err = e.Resume("a")
		require.NoError(t, err)
		require.Equal(t, api.CodeConflict, wait(t, e, "a", done).Error.Code, "still not restarted")
		e.Stop()
		o.Boot = "b2"
		st = wait(t, open(t, o), "a", done)
		require.Equal(t, api.OpSucceeded, st.State, "%+v", st)
		require.Equal(t, []string{"x", "y"}, lines(t, dir, "log"))
	}
}

// TestWhatIsGivenUpDoesNotGoOn when the machine restarts at last.
func TestWhatIsGivenUpDoesNotGoOn(t *testing.T) {
	dir := folder(t)
	o := options(dir)
	o.Boot = "b1"
	e := open(t, o)
	_, err := e.Put(plan1("a", api.SetupStep{Reboot: true, Script: "echo x >>$OUT/log"},
		api.SetupStep{Script: "echo y >>$OUT/log"}))
	require.NoError(t, err)
	require.Equal(t, api.CodeConflict, wait(t, e, "a", done).Error.Code)
	_, err = e.Cancel(t.Context(), "a")
	require.NoError(t, err)
	e.Stop()
	o.Boot = "b2"
	e = open(t, o)
	_, err = e.Put(plan1("b", api.SetupStep{Script: "true"})) // after which "a" would have had its turn
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, wait(t, e, "b", done).State)
	require.Equal(t, api.OpFailed, wait(t, e, "a", done).State)
	require.Equal(t, []string{"x"}, lines(t, dir, "log"))
}

func TestACancelOutlivesTheAgent(t *testing.T) {
	dir := folder(t)
	put(t, dir, plan1("a", api.SetupStep{Script: "echo $$ >$OUT/pid; sleep 1000"}))
	a := startAgent(t, dir, "b1")
	require.Eventually(t, func() bool { return lines(t, dir, "pid") != nil }, 2*time.Minute, time.Millisecond)
	a.kill()
	path := filepath.Join(dir, "a", statusFile)
	var r record
	require.NoError(t, atomicfile.Read(path, &r))
	r.Cancel = true // as it stands just before the runner is told
	require.NoError(t, atomicfile.Write(path, r))
	st := startAgent(t, dir, "b1").until(t, done)
	require.Equal(t, api.OpCancelled, st.State)
	var pid int
	_, err := fmt.Sscan(lines(t, dir, "pid")[0], &pid)
	require.NoError(t, err)
	_, err = proc.Identify(pid)
	require.ErrorIs(t, err, proc.ErrGone)
}

// fakeSudo is a program that does what sudo does, as far as a test can tell.
func fakeSudo(t *testing.T, text string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sudo")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700))
	return []string{path, "-n", "--"}
}

func TestRootByCommand(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: the steps' command does nothing for anybody else")
	}
	dir := folder(t)
	o := options(dir)
	o.Root.Sudo = fakeSudo(t, `shift 2; exec env -i PATH=/usr/bin:/bin OUTSIDE=1 "$@"`)
	e := open(t, o)
	_, err := e.Put(plan1("a", api.SetupStep{Root: true, Env: []string{"V=it's"}, Check: "test \"$ROOT\" = false",
		Script: "echo \"$ROOT $V $OUTSIDE $(pwd)\" >>$OUT/log"},
		api.SetupStep{Root: true, LimitSeconds: 2, Script: "echo $$ >$OUT/pid; trap '' TERM; while :; do sleep 1; done"}))
	require.NoError(t, err)
	st := wait(t, e, "a", done)
	require.Equal(t, []string{"true it's 1 /"}, lines(t, dir, "log"))
	require.Contains(t, st.Error.Message, "took longer than")
	var pid int
	_, err = fmt.Sscan(lines(t, dir, "pid")[0], &pid)
	require.NoError(t, err)
	_, err = proc.Identify(pid)
	require.ErrorIs(t, err, proc.ErrGone)
	all, err := filepath.Glob(filepath.Join(dir, "a", "*.env"))
	require.NoError(t, err)
	require.Empty(t, all)
}

func TestWithoutRootTheCommandIsSaid(t *testing.T) {
	dir := folder(t)
	o := options(dir)
	o.Root.Sudo = fakeSudo(t, `echo "sudo: a password is required" >&2; exit 1`)
	e := open(t, o)
	_, err := e.Put(plan1("a", api.SetupStep{Root: true, Script: "echo $V $ROOT >>$OUT/log", Env: []string{"V=x y"}}))
	require.NoError(t, err)
	st := wait(t, e, "a", done)
	require.Equal(t, api.CodeForbidden, st.Error.Code)
	require.Contains(t, st.Error.Message,
		"needs root, which can't be had here without a question (sudo: a password is required)")
	// The command that it names does what the step would have done.
	_, line, ok := strings.Cut(st.Error.Hint, ": sudo ")
	require.True(t, ok, st.Error.Hint)
	line, _, _ = strings.Cut(line, ";")
	// Where this program is a user's, another one is named, which is not installed: this one serves in its place.
	line = strings.Replace(line, "/usr/local/bin/berth agent root", strings.Join(o.Root.Program, " "), 1)
	out, err := exec.Command("env", "-i", "sh", "-c", line).CombinedOutput()
	require.NotContains(t, st.Error.Hint, "x y", "variables stand on no command line")
	require.True(t, strings.HasSuffix(st.Error.Hint, "; then resume the set-up"), st.Error.Hint)
	if os.Getuid() != 0 {
		require.Error(t, err)
		require.Contains(t, string(out), "only root may do this") // sudo is what is missing, and nothing else
		t.Skip("needs root: to run the command that is named")
	}
	require.NoError(t, err, "%s: %s", line, out)
	require.Equal(t, []string{"x y true"}, lines(t, dir, "log"))
}

// TestARealSudo runs a step as root from another user's agent.
func TestARealSudo(t *testing.T) {
	sudo, err := exec.LookPath("sudo")
	if err != nil || os.Getuid() != 0 {
		t.Skip("needs root and sudo")
	}
	rule := fmt.Sprintf("/etc/sudoers.d/berth-setup-test-%d", os.Getpid())
	if err := os.WriteFile(rule, []byte("nobody ALL=(ALL) NOPASSWD: ALL\n"), 0o440); err != nil {
		t.Skipf("writing a rule for sudo: %v", err)
	}
	t.Cleanup(func() { _ = os.Remove(rule) })
	base, err := os.MkdirTemp("/tmp", "bt")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	dir := filepath.Join(base, "setup")
	require.NoError(t, os.Mkdir(dir, 0o700))
	exe, err := os.Executable()
	require.NoError(t, err)
	b, err := os.ReadFile(exe)
	require.NoError(t, err)
	own := filepath.Join(base, "test")
	require.NoError(t, os.WriteFile(own, b, 0o755))
	for _, d := range []string{base, dir} {
		require.NoError(t, os.Chown(d, 65534, 65534))
	}
	run, folder, step := "echo \"$(id -u) $ROOT\" >>$OUT/log", filepath.Join(dir, "a"), "0"
	require.NoError(t, os.Mkdir(folder, 0o700))
	by := root.Caller{Program: []string{own, "root"}, Sudo: []string{sudo, "-n", "--"}}
	sp := spec{Boot: "b", Env: []string{"PATH=" + root.DefaultPath}, Dir: "/", Root: &by, Seconds: 2, Grace: 0.3}
	vars, err := json.Marshal(root.StepEnv{Env: []string{"PATH=" + root.DefaultPath, "OUT=" + base, "ROOT=true"}})
	require.NoError(t, err)
	require.NoError(t, writeFiles(map[string]string{stepFile(folder, 0, 0, "sh"): run +
		"; echo $$ >$OUT/pid; trap '' TERM; while :; do sleep 1; done",
		stepFile(folder, 0, 1, "env"): string(vars)}))
	sp.Argv = by.Command("setup-step", root.StepArgs(folder, 0, 1, root.StepRun)...)
	require.NoError(t, atomicfile.Write(stepFile(folder, 0, 1, "json"), sp))
	require.NoError(t, filepath.Walk(folder, func(p string, _ os.FileInfo, _ error) error {
		return os.Chown(p, 65534, 65534)
	}))
	cmd := exec.Command(own, "setup-step", folder, step, "1")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	r, ok := readResult(stepFile(folder, 0, 1, "code"))
	require.True(t, ok)
	require.Equal(t, whyLimit, r.Why, "%+v", r)
	require.Zero(t, r.Left, "SIGKILL reaches what root runs")
	got, err := os.ReadFile(filepath.Join(base, "log"))
	require.NoError(t, err)
	require.Equal(t, "0 true\n", string(got))
	var pid int
	text, err := os.ReadFile(filepath.Join(base, "pid"))
	require.NoError(t, err)
	_, err = fmt.Sscan(string(text), &pid)
	require.NoError(t, err)
	_, err = proc.Identify(pid)
	require.ErrorIs(t, err, proc.ErrGone, "the process of root")
}

func TestOddFoldersDoNotStopTheEngine(t *testing.T) {
	dir := folder(t)
	for name, text := range map[string]string{"empty/x": "", "garbage/plan.json": "{",
		"other/plan.json":    `{"id":"x","steps":[{"name":"s","title":"","script":":"}]}`,
		"status/plan.json":   `{"id":"status","steps":[{"name":"s","title":"","script":"echo x >>$OUT/log"}]}`,
		"status/status.json": "\x00"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	e := open(t, options(dir))
	require.Equal(t, api.OpSucceeded, wait(t, e, "status", done).State)
	require.NoDirExists(t, filepath.Join(dir, "empty"), "a plan that was never whole")
	require.DirExists(t, filepath.Join(dir, "garbage"))
}

func FuzzReadResult(f *testing.F) {
	f.Add([]byte(`{"code":3}   `))
	f.Add([]byte("   "))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "code")
		require.NoError(t, os.WriteFile(path, b, 0o600))
		if r, ok := readResult(path); ok && !json.Valid(b) {
			t.Fatalf("%q is read as %+v", b, r)
		}
	})
}

func FuzzPlain(f *testing.F) {
	f.Add([]byte("a\x1b[31mred\x1b[0m\rb\n\x1b]0;title\a\x9b1m\xff"))
	f.Add([]byte("\x1b["))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := plain(b)
		if strings.ContainsAny(s, "\x1b\r\x00\x07\u009b\u202e") || len(s) > tailSize {
			t.Fatalf("%q became %q", b, s)
		}
		_ = lastLine(s)
	})
}

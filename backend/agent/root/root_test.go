package root

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/process"
	"berth/backend/api"
)

// limited is what a limit of a user's came to.
type limited struct {
	Why    string // why there is none
	Exit   process.Exit
	Groups string // of the one who set it, afterwards
}

// playLimit plays a user's shim, which keeps a program that takes more memory than it may.
func playLimit(dir string) {
	l := process.Limit{Memory: 64 << 20, CPUs: 1}
	var out limited
	if err := process.CanLimit("t", l); err != nil {
		out.Why = err.Error()
	} else {
		exe, _ := os.Executable()
		spec := process.Spec{ID: "t", Dir: dir, Argv0: "t", Path: process.Text(exe), Args: process.Texts{"eat"}, Mark: "T=t", Cwd: "/",
			Env: process.Texts{"T=t"}, Cgroup: "berth-job-t", Limit: l}
		_, _ = new(process.Keeper).Run(spec, nil, nil, func(s process.Said) {
			if s.Record != nil && s.Record.Limit != nil {
				out.Why = s.Record.Limit.Why
			}
			if s.Exit != nil {
				out.Exit = *s.Exit
			}
			out.Why += s.Error
		})
		b, _ := os.ReadFile("/proc/self/cgroup")
		out.Groups = string(b)
	}
	_ = json.NewEncoder(os.Stdout).Encode(out)
}

// The test binary plays the program that sudo runs, and the user who calls it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "root":
			os.Exit(Main(os.Args[2:], os.Stdout, os.Stderr))
		case "call":
			exe, _ := os.Executable()
			out, err := New([]string{exe, "root"}).Run(context.Background(), "the test", os.Args[2], os.Args[3:]...)
			_ = json.NewEncoder(os.Stdout).Encode(called{string(out), api.AsError(err)})
			os.Exit(0)
		case "limit":
			playLimit(os.Args[2])
			os.Exit(0)
		case "eat":
			b := make([]byte, 200<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// called is what a call of another user came to.
type called struct {
	Out string
	Err *api.Error
}

const good = "2026-01-02T03:04:05.25Z"

// hostile are arguments that no verb takes.
var hostile = [][]string{
	{""}, {"sh"}, {"sh", "-c", "id"}, {"CHECK"}, {"check", "x"}, {"check "}, {"../check"}, {"-c"}, {"--", "check"},
	{"clock"}, {"clock", ""}, {"clock", "now"}, {"clock", "1700000000"}, {"clock", good, good}, {"clock", "@0"},
	{"cgroup-make", "0"}, {"cgroup-make", ""}, {"cgroup-make", "/"},
	{"restart", "now"}, {"restart", ""}, {"restart", "-f"},
	{"hostkey"}, {"hostkey", "drop"}, {"hostkey", "new", "use"}, {"hostkey", "new; id"}, {"hostkey", ""},
	{"hostkey", "NEW"}, {"hostkey", "-f", "/etc/shadow"},
	{"signal"}, {"signal", "TERM"}, {"signal", "TERM", "42"}, {"signal", "TERM", "42", good, "43"}, {"signal", "TERM", "1",
		good}, {"signal", "TERM", "0", good},
	{"signal", "TERM", "-1", good}, {"signal", "TERM", "-42", good}, {"signal", "TERM", "+42", good},
	{"signal", "TERM", "042", good}, {"signal", "TERM", "4 2", good},
	{"signal", "TERM", "0x2a", good}, {"signal", "TERM", "99999999999999999999", good}, {"signal", "TERM", "4294967338",
		good}, {"signal", "TERM", "42", ""},
	{"signal", "TERM", "42", "0001-01-01T00:00:00Z"}, {"signal", "TERM", "42", "now"}, {"signal", "TERM", "42", good, "1",
		good}, {"signal", "9", "42", good},
	{"signal", "SIGTERM", "42", good}, {"signal", "term", "42", good}, {"signal", " TERM", "42", good},
	{"signal", "SEGV", "42", good}, {"signal", "RTMIN", "42", good}, {"signal", "", "42", good},
	{"setup-step"}, {"setup-step", "/a", "0", "1"}, {"setup-step", "/a", "0", "1", "run", "x"}, {"setup-step", "a", "0",
		"1", "run"}, {"setup-step", "", "0", "1", "run"},
	{"setup-step", "/", "0", "1", "run"}, {"setup-step", "/a/", "0", "1", "run"}, {"setup-step", "/a/../etc", "0", "1",
		"run"}, {"setup-step", "//a", "0", "1", "run"},
	{"setup-step", "/a/./b", "0", "1", "run"}, {"setup-step", "/a\x00/b", "0", "1", "run"}, {"setup-step", "/a", "-1", "1",
		"run"}, {"setup-step", "/a", "0", "0", "run"},
	{"setup-step", "/a", "1e1", "1", "run"}, {"setup-step", "/a", "500", "1", "run"}, {"setup-step", "/a", "0", "../1",
		"run"}, {"setup-step", "/a", "0", "1", "sh"},
	{"setup-step", "/a", "0", "1", "check.sh"}, {"setup-step", "/a", "00", "1", "run"}, {"setup-step", "/a", "0", "1", ""},
}

func TestHostileArgumentsAreRefused(t *testing.T) {
	for _, args := range hostile {
		act, err := parse(args)
		require.Error(t, err, "%q", args)
		require.Nil(t, act, "%q", args)
		code := api.AsError(err).Code
		require.True(t, code == api.CodeUsage || code == api.CodeForbidden, "%q: %v", args, err)
		var out, said bytes.Buffer
		require.NotZero(t, Main(args, &out, &said), "%q", args)
		require.Empty(t, out.String())
		require.Equal(t, 1, strings.Count(said.String(), "\n"), "%q", said.String())
	}
	for _, args := range [][]string{{"check"}, {"restart"}, {"hostkey", "new"}, {"hostkey", "use"},
		{"signal", "TERM", "42", good, "43", good}, {"setup-step", "/a/b", "0", "1", "check"}} {
		act, err := parse(args)
		require.NoError(t, err, "%q", args)
		require.NotNil(t, act)
	}
}

// FuzzParse: whatever is accepted is one of few plain forms. Nothing is ever done.
// TestAClockIsPutForwardOnly and not by any amount. Nothing here changes the clock of the computer it runs on.
func TestAClockIsPutForwardOnly(t *testing.T) {
	for to, want := range map[string]string{
		"2026-01-02T03:04:05Z":                                      "",
		time.Now().Add(-time.Second).Format(time.RFC3339Nano):       "",
		time.Now().Add(400 * 24 * time.Hour).Format(time.RFC3339):   "a clock is put forward by 8784h0m0s at most",
		time.Now().Add(40000 * 24 * time.Hour).Format(time.RFC3339): "a clock is put forward by 8784h0m0s at most",
	} {
		act, err := parse([]string{"clock", to})
		require.NoError(t, err)
		if err = act(t.Context(), io.Discard); want == "" {
			require.NoError(t, err, to)
		} else {
			require.ErrorContains(t, err, want, to)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, args := range hostile {
		f.Add(strings.Join(args, "\n"))
	}
	f.Add("signal\nKILL\n42\n" + good)
	f.Add("setup-step\n/home/u/.local/state/berth/setup/op-1\n3\n2\nrun")
	f.Add("clock\n" + good)
	form := regexp.MustCompile(`\A(check|restart|cgroup-make|clock\n[0-9TZ:.,+-]+|hostkey\n(new|use)|signal\n(TERM|INT|KILL|HUP|QUIT|STOP|CONT|USR1|USR2)(\n([2-9]|[1-9][0-9]{1,9})\n[0-9TZ:.,+-]+)+|setup-step\n(?s:/.+)\n(0|[1-9][0-9]{0,2})\n[1-9][0-9]{0,9}\n(check|run))\z`)
	f.Fuzz(func(t *testing.T, s string) {
		args := strings.Split(s, "\n")
		act, err := parse(args)
		switch {
		case (act == nil) == (err == nil):
			t.Fatalf("%q: neither an action nor an error", args)
		case err == nil && !form.MatchString(s):
			t.Fatalf("%q is accepted", args)
		case err == nil && args[0] == "setup-step" && (filepath.Clean(args[1]) != args[1] || strings.Contains(args[1]+"/",
			"/../")):
			t.Fatalf("the folder %q is accepted", args[1])
		}
	})
}

func TestTheListIsShown(t *testing.T) {
	var out, said bytes.Buffer
	require.Equal(t, 2, Main(nil, &out, &said))
	require.Zero(t, Main([]string{"help"}, &out, &said))
	require.Equal(t, said.String(), out.String())
	for _, v := range verbs() {
		require.Contains(t, out.String(), "\n  "+v.name)
		require.NotEmpty(t, v.help)
	}
}

// written is a folder as the set-up engine writes it, of the user uid.
func written(t *testing.T, base string, uid int, script string) string {
	t.Helper()
	dir := filepath.Join(base, "plan")
	require.NoError(t, os.Mkdir(dir, 0o700))
	b, err := json.Marshal(StepEnv{Env: []string{"PATH=" + DefaultPath, "V=it's $(id) \"x\"\n2"}})
	require.NoError(t, err)
	for name, text := range map[string]string{StepFile(0, 0, "sh"): script,
		StepFile(0, 0, "check.sh"): "(exit 7); echo not reached", StepFile(0, 1, "env"): string(b)} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	require.NoError(t, filepath.WalkDir(dir, func(p string, _ fs.DirEntry, _ error) error {
		return os.Lchown(p, uid, uid)
	}))
	return dir
}

// TestOnlyAStepOfTheCallerIsRun: nothing that others could have put there or could change.
func TestOnlyAStepOfTheCallerIsRun(t *testing.T) {
	uid := os.Getuid()
	script, env := StepFile(0, 0, "sh"), StepFile(0, 1, "env")
	for name, c := range map[string]struct {
		spoil func(t *testing.T, dir string) string // returns another folder to ask for, or ""
		say   string
	}{
		"as written": {nil, ""},
		"a linked folder": {func(t *testing.T, d string) string { l := d + "-link"; must(t, os.Symlink(d, l)); return l },
			"symbolic link"},
		"a link on the way": {func(t *testing.T, d string) string {
			l := filepath.Dir(d) + "-way"
			must(t, os.Symlink(filepath.Dir(d), l))
			return l + "/plan"
		}, "symbolic link"},
		"a linked script": {func(t *testing.T, d string) string {
			must(t, os.Rename(d+"/"+script, d+"/x"))
			must(t, os.Symlink("x", d+"/"+script))
			return ""
		}, "symbolic link"},
		"linked variables": {func(t *testing.T, d string) string {
			must(t, os.Rename(d+"/"+env, d+"/x"))
			must(t, os.Symlink("x", d+"/"+env))
			return ""
		}, "symbolic link"},
		"a script of two names": {func(t *testing.T, d string) string {
			must(t, os.Link(d+"/"+script, filepath.Dir(d)+"/y"))
			return ""
		}, "2 names"},
		"a folder for all": {func(t *testing.T, d string) string { must(t, os.Chmod(d, 0o777)); return "" },
			"mode 0777"},
		"a folder for a group": {func(t *testing.T, d string) string { must(t, os.Chmod(d, 0o770)); return "" },
			"mode 0770"},
		"a script for a group": {func(t *testing.T, d string) string { must(t, os.Chmod(d+"/"+script, 0o620)); return "" },
			"mode 0620"},
		"variables to be read": {func(t *testing.T, d string) string { must(t, os.Chmod(d+"/"+env, 0o644)); return "" },
			"mode 0644"},
		"a script that is none": {func(t *testing.T, d string) string {
			must(t, os.Remove(d+"/"+script))
			must(t, syscall.Mkfifo(d+"/"+script, 0o600))
			return ""
		}, "not a plain file"},
		"a folder for a script": {func(t *testing.T, d string) string {
			must(t, os.Remove(d+"/"+script))
			must(t, os.Mkdir(d+"/"+script, 0o700))
			return ""
		}, "not a plain file"},
		"no script": {func(t *testing.T, d string) string { must(t, os.Remove(d+"/"+script)); return "" }, "no such file"},
		"no variables": {func(t *testing.T, d string) string {
			must(t, os.WriteFile(d+"/"+env, []byte("export A=1"), 0o600))
			return ""
		}, "invalid character"},
		"a bad variable": {func(t *testing.T, d string) string {
			must(t, os.WriteFile(d+"/"+env, []byte(`{"env":["A B=1"]}`), 0o600))
			return ""
		}, "no variable"},
		"a huge script": {func(t *testing.T, d string) string {
			must(t, os.Truncate(d+"/"+script, maxFile+1))
			return ""
		}, "larger than"},
		"a file for a folder": {func(t *testing.T, d string) string { return d + "/" + script }, "no folder"},
		"no folder":           {func(t *testing.T, d string) string { return d + "/none" }, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			base, err := filepath.EvalSymlinks(t.TempDir())
			require.NoError(t, err)
			dir := written(t, base, uid, "echo hi")
			if c.spoil != nil {
				if other := c.spoil(t, dir); other != "" {
					dir = other
				}
			}
			f, argv, vars, err := step{folder: dir, attempt: 1, part: StepRun}.load(uint32(uid))
			if c.say != "" {
				require.ErrorContains(t, err, c.say)
				return
			}
			require.NoError(t, err)
			defer f.Close()
			require.Equal(t, []string{"sh", "-e"}, argv)
			require.Contains(t, vars, "V=it's $(id) \"x\"\n2")
		})
	}
	base := t.TempDir()
	_, _, _, err := step{folder: written(t, base, uid, ":"), attempt: 1, part: StepRun}.load(uint32(uid) + 1)
	require.ErrorContains(t, err, fmt.Sprintf("belongs to the user %d, and the user %d asks for it", uid, uid+1))
	require.ErrorIs(t, err, &api.Error{Code: api.CodeForbidden})
}

func must(t *testing.T, err error) {
	t.Helper()
	require.NoError(t, err)
}

// nobody may run everything by sudo until the test ends. It returns a folder and a call of his.
func nobody(t *testing.T) (base string, call func(args ...string) called) {
	t.Helper()
	if _, err := exec.LookPath("sudo"); err != nil || os.Getuid() != 0 {
		t.Skip("needs root and sudo")
	}
	rule := fmt.Sprintf("/etc/sudoers.d/berth-root-test-%d", os.Getpid())
	if err := os.WriteFile(rule, []byte("nobody ALL=(ALL) NOPASSWD: ALL\n"), 0o440); err != nil {
		t.Skipf("writing a rule for sudo: %v", err)
	}
	t.Cleanup(func() { _ = os.Remove(rule) })
	base, err := os.MkdirTemp("/tmp", "br")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	require.NoError(t, os.Chmod(base, 0o755))
	exe, err := os.Executable()
	require.NoError(t, err)
	b, err := os.ReadFile(exe)
	require.NoError(t, err)
	own := filepath.Join(base, "test")
	require.NoError(t, os.WriteFile(own, b, 0o755))
	return base, func(args ...string) called {
		t.Helper()
		cmd := exec.Command(own, append([]string{"call"}, args...)...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.Output()
		require.NoError(t, err, "%s", out)
		var c called
		require.NoError(t, json.Unmarshal(out, &c), "%s", out)
		return c
	}
}

func TestRealSudoRunsAStep(t *testing.T) {
	base, call := nobody(t)
	require.Nil(t, call("check").Err)
	script := "printf '%s|' \"$(id -u)\" \"$SUDO_USER\" \"$PWD\" \"$V\""
	dir := written(t, base, 65534, script)
	c := call("setup-step", dir, "0", "1", "run")
	require.Equal(t, "0|nobody|/|it's $(id) \"x\"\n2|", c.Out)
	require.Nil(t, c.Err)
	c = call("setup-step", dir, "0", "1", "check")
	require.Contains(t, c.Err.Message, "exit status 7", "sh -e")

	other := filepath.Join(base, "other")
	require.NoError(t, os.Mkdir(other, 0o755))
	for _, uid := range []int{0, 1} { // root's own is as foreign as that of anybody else
		dir := written(t, other, uid, "touch "+base+"/evil")
		c = call("setup-step", dir, "0", "1", "run")
		require.Equal(t, api.CodeForbidden, c.Err.Code)
		require.Contains(t, c.Err.Message, fmt.Sprintf("belongs to the user %d, and the user 65534 asks", uid))
		require.NoError(t, os.RemoveAll(dir))
	}
	require.NoError(t, os.Symlink(dir, filepath.Join(base, "link")))
	c = call("setup-step", filepath.Join(base, "link"), "0", "1", "run")
	require.Equal(t, api.CodeForbidden, c.Err.Code)
	require.Contains(t, c.Err.Message, "symbolic link")
	require.NoFileExists(t, filepath.Join(base, "evil"))
}

// A user whom root has handed over groups to limits what is its own.
func TestRealSudoHandsOverControlGroups(t *testing.T) {
	base, call := nobody(t)
	dir := filepath.Join(base, "run")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.Chown(dir, 65534, 65534))
	limit := func() (l limited) {
		cmd := exec.Command(filepath.Join(base, "test"), "limit", dir)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.Output()
		require.NoError(t, err, "%s", out)
		require.NoError(t, json.Unmarshal(out, &l), "%s", out)
		return l
	}
	require.NotEmpty(t, limit().Why)
	if c := call("cgroup-make"); c.Err != nil {
		require.Contains(t, c.Err.Message, "version 2 only")
		t.Skip("memory can't be limited here: " + c.Err.Message)
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*/" + process.HandedOver(65534))
	require.NoError(t, err)
	require.NotEmpty(t, groups)
	t.Cleanup(func() {
		for _, g := range groups {
			require.NoError(t, os.Remove(g), "nothing is left in it")
		}
	})
	l := limit()
	require.Empty(t, l.Why)
	require.Equal(t, "KILL", l.Exit.Signal)
	require.Equal(t, 1, l.Exit.Killed)
	require.InDelta(t, 64<<20, l.Exit.PeakMemory, 4096)
	require.NotContains(t, l.Groups, "berth-job-t")
	require.Nil(t, call("cgroup-make").Err, "again")
}

func TestRealSudoSignalsTheProcessThatWasMeant(t *testing.T) {
	_, call := nobody(t)
	cmd := exec.Command("sleep", "1000")
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	pid := strconv.Itoa(cmd.Process.Pid)
	started := time.Now()

	c := call("signal", "KILL", pid, started.Add(-time.Hour).Format(time.RFC3339Nano))
	require.Equal(t, api.CodeNotFound, c.Err.Code, "its number is that of another process now")
	c = call("signal", "KILL", "1", started.Format(time.RFC3339Nano))
	require.Equal(t, api.CodeForbidden, c.Err.Code)
	require.Contains(t, c.Err.Message, "PID 1")
	require.Empty(t, c.Err.Hint, "no administrator is to do that")
	c = call("signal", "SEGV", pid, started.Format(time.RFC3339Nano))
	require.Equal(t, api.CodeUsage, c.Err.Code)
	c = call("signal", "KILL", strconv.Itoa(os.Getpid()), started.Add(time.Hour).Format(time.RFC3339Nano))
	require.Equal(t, api.CodeNotFound, c.Err.Code)
	select {
	case err := <-ended:
		t.Fatalf("it was signalled: %v", err)
	default:
	}
	c = call("signal", "TERM", "4194303", started.Format(time.RFC3339Nano), pid, started.Format(time.RFC3339Nano))
	require.Nil(t, c.Err, "of several, what has ended is no error")
	require.ErrorContains(t, <-ended, "terminated")
}

func TestWithoutRightsNothingIsDone(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	base, _ := nobody(t)
	cmd := exec.Command(filepath.Join(base, "test"), "root", "hostkey", "use")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, "berth: root hostkey: forbidden: only root may do this\n", string(out))
}

func fake(t *testing.T, text string) Caller {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sudo")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700))
	exe, err := os.Executable()
	require.NoError(t, err)
	return Caller{Program: []string{exe, "root"}, Sudo: []string{path, "-n", "--"}}
}

// TestWhatSudoSays: whatever keeps root away is one error, and what a verb says is another.
func TestWhatSudoSays(t *testing.T) {
	for said, why := range map[string]string{
		"sudo: a password is required":                                 "sudo: a password is required",
		"sudo: interactive authentication is required":                 "sudo: interactive authentication is required",
		"ada is not in the sudoers file.":                              "ada is not in the sudoers file.",
		"Sorry, user ada is not allowed to execute x on host.":         "Sorry, user ada is not allowed to execute x on host.",
		"sudo: unable to resolve host h\nsudo: a password is required": "sudo: a password is required",
		"": "exit status 1",
	} {
		c := fake(t, "cat >&2 <<'X'\n"+said+"\nX\nexit 1\n")
		for _, err := range []error{c.Signal(t.Context(), "TERM", Target{42, time.Unix(1, 0)}), c.Check(t.Context(), "it",
			"hostkey", "new")} {
			e := api.AsError(err)
			require.Equal(t, api.CodeForbidden, e.Code)
			require.Contains(t, e.Message, "needs root, which can't be had here without a question (")
			require.Contains(t, e.Message, why)
			require.Regexp(t, "^an administrator can run it.*: sudo (/usr/local/bin/berth agent|"+regexp.QuoteMeta(c.Program[0])+") root (signal TERM|hostkey new)", e.Hint)
		}
	}
	t.Setenv("PATH", "/nonexistent")
	c := Caller{Program: []string{"/bin/true"}, Sudo: []string{"sudo-that-is-not-there", "-n", "--"}}
	_, err := c.Run(t.Context(), "it", "hostkey", "new")
	require.ErrorIs(t, err, &api.Error{Code: api.CodeForbidden})
	require.ErrorContains(t, err, "it needs root, which can't be had here without a question (sudo is not installed)")

	// What the verb says is no refusal of sudo's, whatever sudo says besides.
	c = fake(t, `echo "sudo: unable to resolve host h" >&2; shift 2; exec "$@"`)
	_, err = c.Run(t.Context(), "it", "nonsense")
	require.ErrorIs(t, err, &api.Error{Code: api.CodeUsage})
	require.EqualError(t, err, `it: "nonsense" is nothing that Berth does as root`)
	c = fake(t, "echo trouble >&2; exit 2")
	_, err = c.Run(t.Context(), "it", "check")
	require.ErrorIs(t, err, &api.Error{Code: api.CodeFailed})
	require.ErrorContains(t, err, "trouble")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = fake(t, "exec sleep 1000").Run(ctx, "it", "check")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// TestByHandNamesNoProgramOfAUsers: an administrator is never asked to run what somebody else can change.
func TestByHandNamesNoProgramOfAUsers(t *testing.T) {
	for _, dir := range filepath.SplitList(DefaultPath) {
		if onlyRoots(filepath.Join(dir, "berth")) != "" {
			t.Skip("Berth is installed on this machine")
		}
	}
	const elsewhere = "sudo /usr/local/bin/berth agent root hostkey new"
	dir := filepath.Join(t.TempDir(), "o'dd dir")
	require.NoError(t, os.Mkdir(dir, 0o755))
	program := filepath.Join(dir, "berth-agent")
	c := Caller{Program: []string{program, "root"}}
	line, installed := c.ByHand("hostkey", "new")
	require.Equal(t, elsewhere, line, "it does not exist")
	require.False(t, installed)

	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755))
	if os.Getuid() != 0 {
		line, installed = c.ByHand("hostkey", "new")
		require.Equal(t, elsewhere, line, "it is this user's")
		require.False(t, installed)
		return
	}
	own := "sudo '" + strings.ReplaceAll(program, "'", `'\''`) + "' root "
	require.Contains(t, own, `/o'\''dd dir/berth-agent`)
	line, installed = c.ByHand("hostkey", "new")
	require.Equal(t, own+"hostkey new", line)
	require.True(t, installed)
	line, _ = c.ByHand("setup-step", StepArgs("/a", 0, 1, StepRun)...)
	require.Equal(t, strings.Replace(own, "sudo", "sudo env SUDO_UID=0", 1)+"setup-step /a 0 1 run", line)

	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(program, link))
	line, _ = Caller{Program: []string{link, "root"}}.ByHand("hostkey", "new")
	require.Equal(t, own+"hostkey new", line, "a link may be changed by whoever owns its folder")

	for name, change := range map[string]func() error{
		"anybody may write it":         func() error { return os.Chmod(program, 0o777) },
		"a group may write its folder": func() error { return os.Chmod(dir, 0o775) },
		"it is a user's":               func() error { return os.Chown(program, 1, 1) },
		"its folder is a user's":       func() error { return os.Chown(dir, 1, 1) },
		"it can't be run":              func() error { return os.Chmod(program, 0o644) },
	} {
		require.NoError(t, change())
		line, installed = c.ByHand("hostkey", "new")
		require.Equal(t, elsewhere, line, name)
		require.False(t, installed, name)
		for path, mode := range map[string]os.FileMode{dir: 0o755, program: 0o755} {
			require.NoError(t, os.Chown(path, 0, 0))
			require.NoError(t, os.Chmod(path, mode))
		}
	}
}

// TestNothingElseIsRunBySudo looks for other ways to be root in Berth's sources.
func TestNothingElseIsRunBySudo(t *testing.T) {
	calls := regexp.MustCompile("\"sudo\"|`sudo`|sudo -n --")
	files := 0
	require.NoError(t, filepath.WalkDir("../../..", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") || strings.Contains(p,
			"backend/agent/root/") || strings.HasSuffix(p, "profile/lint.go") {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		files++
		require.False(t, calls.Match(b), "%s calls sudo: what needs root is a verb of this package", p)
		return nil
	}))
	require.Greater(t, files, 100)
}

func FuzzInterpreter(f *testing.F) {
	f.Add("#!/usr/bin/env bash\n")
	f.Add("#! /bin/sh -x")
	f.Fuzz(func(t *testing.T, s string) {
		if argv := Interpreter(s); len(argv) == 0 || argv[0] == "" {
			t.Fatalf("%q has no interpreter", s)
		}
	})
}

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/base/paths"
	"berth/backend/service/daemon/connect"
)

// TestMain makes the test binary play berth when it is called by that name: by a script, by a test, as
// the daemon, as an agent.
func TestMain(m *testing.M) {
	// Most of these tests wait for programs, and more of them than processors can.
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "-test.") {
		os.Args = slices.Insert(os.Args, 1, "-test.parallel="+strconv.Itoa(3*runtime.GOMAXPROCS(0)))
	}
	testscript.Main(m, map[string]func(){"berth": func() { os.Exit(run()) }})
}

// world is one home with its daemon and instances, for one test.
type world struct {
	t    *testing.T
	home string
	env  []string
	user string // HOME; "": that of who runs the tests
	exe  string // the program; "": this test's
	uid  uint32 // whose it is; 0: of who runs the tests
}

// newWorld makes an empty home; all that was started in it is ended after the test.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, home: filepath.Join(t.TempDir(), "home")}
	t.Cleanup(func() {
		w.env = nil // no fault strikes the cleaning
		w.end()
	})
	return w
}

// end deletes every instance and ends the daemon.
func (w *world) end() {
	if !paths.Exists(w.home) {
		return
	}
	var ins []api.Instance
	if json.Unmarshal([]byte(w.run("ls", "--json").out), &ins) == nil {
		for _, in := range ins {
			_ = w.run("rm", "-y", in.Name)
		}
	}
	_ = w.run("daemon", "stop")
}

// result is how a run of berth ended.
type result struct {
	out, err string
	code     int
}

// testAgent is the small agent of these sources, for worlds whose program is this test: it is built once. It is empty
// where it can't be built; what needs it says so then. It stays in the user's cache, where the go tool finds that it is
// up to date the next time; each clone has its own, which the tests of another one don't replace.
var testAgent = sync.OnceValue(func() string {
	cache, err := os.UserCacheDir()
	if err != nil || runtime.GOOS != "linux" {
		return ""
	}
	clone, err := os.Getwd()
	if err != nil {
		return ""
	}
	sum := sha256.Sum256([]byte(clone))
	path := filepath.Join(cache, "berth-tests", hex.EncodeToString(sum[:6]), "berth-agent")
	if os.MkdirAll(filepath.Dir(path), 0o755) != nil {
		return ""
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", path, "berth/cmd/berth-agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
	if err := cmd.Run(); err != nil {
		return ""
	}
	return path
})

// cmd prepares a run of berth.
func (w *world) cmd(ctx context.Context, args ...string) *exec.Cmd {
	exe := w.exe
	if exe == "" {
		var err error
		exe, err = os.Executable()
		require.NoError(w.t, err)
	}
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Args[0] = "berth"
	cmd.Env = append(os.Environ(), "BERTH_HOME="+w.home, "GOCOVERDIR="+os.TempDir())
	if w.user != "" {
		cmd.Env = append(cmd.Env, "HOME="+w.user)
	}
	if p := testAgent(); p != "" && w.exe == "" {
		cmd.Env = append(cmd.Env, "BERTH_TEST_AGENT="+p)
	}
	cmd.Env = append(cmd.Env, w.env...)
	if w.uid != 0 {
		cmd.Dir = w.user
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: w.uid, Gid: w.uid}}
	}
	return cmd
}

// run runs berth to its end.
func (w *world) run(args ...string) result {
	w.t.Helper()
	return w.runWithin(4*time.Minute, args...) // the first adoption builds the agent
}

func (w *world) runWithin(limit time.Duration, args ...string) result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit) // also in cleanups
	defer cancel()
	cmd := w.cmd(ctx, args...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	code := cmd.ProcessState.ExitCode()
	if err != nil && code == 0 {
		code = -1
	}
	return result{out.String(), stderr.String(), code}
}

// ok runs berth and wants success.
func (w *world) ok(args ...string) string {
	w.t.Helper()
	r := w.run(args...)
	require.Zero(w.t, r.code, "berth %s: %s", strings.Join(args, " "), r.err)
	return r.out
}

// show returns an instance.
func (w *world) show(name string) api.Instance {
	w.t.Helper()
	var in api.Instance
	require.NoError(w.t, json.Unmarshal([]byte(w.ok("show", "--json", name)), &in))
	return in
}

// ls returns the fleet.
func (w *world) ls() []api.Instance {
	w.t.Helper()
	var ins []api.Instance
	require.NoError(w.t, json.Unmarshal([]byte(w.ok("ls", "--json")), &ins))
	return ins
}

// at returns the paths of the home.
func (w *world) at() paths.Home {
	w.t.Helper()
	h, err := paths.At(w.home)
	require.NoError(w.t, err)
	return h
}

// client returns a client of the daemon that runs.
func (w *world) client() *api.WorkspaceClient {
	c := &connect.Connector{Home: w.at(), Existing: true}
	client := &api.WorkspaceClient{Dial: c.Dial}
	w.t.Cleanup(client.Close)
	return client
}

// pid returns the daemon's process id.
func (w *world) pid() int {
	w.t.Helper()
	info, err := w.client().Daemon().Info(w.t.Context())
	require.NoError(w.t, err)
	return info.PID
}

// eventually polls until f holds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// processes counts the processes whose environment or command line names the folder.
func processes(t *testing.T, folder string) []string {
	t.Helper()
	var out []string
	dirs, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	for _, d := range dirs {
		env, _ := os.ReadFile(d + "/environ") // it may be gone, or another's
		cmdline, _ := os.ReadFile(d + "/cmdline")
		if bytes.Contains(env, []byte(folder)) || bytes.Contains(cmdline, []byte(folder)) {
			out = append(out, fmt.Sprintf("%s %q", filepath.Base(d), bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
		}
	}
	return out
}

package agent

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/server/servertest"
	"berth/backend/api"
	"berth/backend/base/paths"
)

func TestAStateFolderOfAnotherMachine(t *testing.T) {
	require.NoError(t, ofThisMachine("/home/u/.local/state/berth/hosts/"+paths.MachineID()+"/agent"))
	require.NoError(t, ofThisMachine("/srv/hosts/gpu1/agent"))
	require.NoError(t, ofThisMachine("/srv/hosts"))
	dir := t.TempDir()
	state := filepath.Join(dir, "hosts", "0123456789ab", "agent")
	var out, said bytes.Buffer
	code := Main([]string{"start", "--no-boot", "--state=" + state, "--socket=" + filepath.Join(dir, "s")},
		Stdio{Out: &out, Err: &said})
	require.NotZero(t, code)
	require.Contains(t, said.String(), "belongs to another machine (0123456789ab, this one is "+paths.MachineID()+")")
	require.NoDirExists(t, state)
}

// asUser prepares to run this program as another user, with folders of that user's own.
func asUser(t *testing.T, uid uint32) (exe string, o Options, run func(args ...string) (string, string, error)) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "bt")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b, err := os.ReadFile(testProgram(t))
	require.NoError(t, err)
	exe = filepath.Join(dir, "berth")
	require.NoError(t, os.WriteFile(exe, b, 0o755))
	home := filepath.Join(dir, "home")
	require.NoError(t, os.Mkdir(home, 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "run"), 0o700))
	for _, d := range []string{dir, home, filepath.Join(dir, "run")} {
		require.NoError(t, os.Chown(d, int(uid), int(uid)))
	}
	o = Options{State: filepath.Join(home, "state", "agent"), Socket: filepath.Join(dir, "run", "agent.sock"),
		Home: home, Workdir: home, Scratch: filepath.Join(home, "scratch"), Shell: "/bin/sh"}
	return exe, o, func(args ...string) (string, string, error) {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "BERTH_TEST=1"}
		cmd.Dir = "/"
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		return stdout.String(), stderr.String(), err
	}
}

func TestCronStartsItAfterAReboot(t *testing.T) {
	needRoot(t, "to try it on another user's crontab")
	if _, err := exec.LookPath("crontab"); err != nil {
		t.Skip("cron is not installed")
	}
	if userManager(t) == nil {
		t.Skip("a systemd user manager runs here and comes before cron")
	}
	exe, o, run := asUser(t, nobody)
	if have, _, err := run("crontab", "-l"); err == nil && have != "" {
		t.Skip("the user nobody has a crontab here")
	}
	t.Cleanup(func() { _, _, _ = run("crontab", "-r") })
	own := filepath.Join(o.Home, "own")
	require.NoError(t, os.WriteFile(own, []byte("# mine\n@daily true\n"), 0o644))
	_, stderr, err := run("crontab", own)
	require.NoError(t, err, stderr)

	out, stderr, err := run(Command(exe, append([]string{"start", "--boot"}, o.Args()...)...)...)
	require.NoError(t, err, stderr)
	var info api.AgentInfo
	require.NoError(t, json.Unmarshal([]byte(out), &info))
	require.Regexp(t, "an @reboot line in your crontab starts the agent|no cron daemon runs here", info.AfterReboot)
	tab, _, err := run("crontab", "-l")
	require.NoError(t, err)
	require.Contains(t, tab, "# mine\n@daily true\n")
	var line string
	for l := range strings.Lines(tab) {
		if strings.HasPrefix(l, "@reboot ") {
			line = strings.TrimSpace(strings.TrimPrefix(l, "@reboot "))
		}
	}
	require.NotEmpty(t, line)
	require.NotContains(t, line, exe, "it is the copy that is started")

	// A second start changes nothing; the line itself starts the agent again.
	_, stderr, err = run(Command(exe, append([]string{"start", "--boot"}, o.Args()...)...)...)
	require.NoError(t, err, stderr)
	same, _, _ := run("crontab", "-l")
	require.Equal(t, tab, same)
	_, stderr, err = run(Command(exe, append([]string{"stop"}, o.Args()...)...)...)
	require.NoError(t, err, stderr)
	_, stderr, err = run("/bin/sh", "-c", line)
	require.NoError(t, err, stderr)
	out, stderr, err = run(Command(exe, append([]string{"info"}, o.Args()...)...)...)
	require.NoError(t, err, stderr)
	var again api.AgentInfo
	require.NoError(t, json.Unmarshal([]byte(out), &again))
	require.NotEqual(t, info.PID, again.PID)
	require.Equal(t, info.AfterReboot, again.AfterReboot)

	_, stderr, err = run(Command(exe, append([]string{"uninstall", "--end"}, o.Args()...)...)...)
	require.NoError(t, err, stderr)
	tab, _, err = run("crontab", "-l")
	require.NoError(t, err)
	require.Equal(t, "# mine\n@daily true\n", tab)
	require.NoDirExists(t, o.State)
}

const unitName = "berth-agent.service"

// systemctl asks the user's service manager.
func systemctl(args ...string) (string, error) {
	out, err := exec.Command("systemctl", append([]string{"--user"}, args...)...).Output()
	return string(out), err
}

func userManager(t *testing.T) error {
	t.Helper()
	_, err := systemctl("show-environment")
	return err
}

// TestSystemdUserUnit runs a real systemd user manager. Its tools want /run/systemd/system, so it
// happens in a mount namespace of its own, in this program started again.
func TestSystemdUserUnit(t *testing.T) {
	const manager = "/usr/lib/systemd/systemd"
	if os.Getenv("BERTH_TEST_SYSTEMD") == "" {
		needRoot(t, "to make a mount namespace")
		if _, err := os.Stat(manager); err != nil {
			t.Skip("systemd is not installed")
		}
		cmd := exec.Command("unshare", "-m", "sh", "-c",
			"mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system || exit\n"+
				"c=$(command -v crontab) && mount --bind /bin/false \"$c\"\n"+
				"exec \"$0\" -test.run '^TestSystemdUserUnit$' -test.v", testProgram(t))
		dir := t.TempDir()
		cmd.Env = append(os.Environ(), "BERTH_TEST_SYSTEMD=1", "HOME="+dir, "XDG_CONFIG_HOME="+dir+"/config",
			"XDG_RUNTIME_DIR="+dir)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		if bytes.Contains(out, []byte("--- SKIP")) {
			t.Skip("systemd's user manager does not run here, also not in a mount namespace of its own")
		}
		return
	}
	m := exec.Command(manager, "--user", "--log-target=console")
	require.NoError(t, m.Start())
	exited := make(chan error, 1)
	go func() { exited <- m.Wait() }()
	t.Cleanup(func() { _ = m.Process.Signal(syscall.SIGKILL); <-exited })
	up := false
	eventually(t, "the user manager", func() bool {
		select {
		case err := <-exited:
			exited <- err
			return true
		default:
			up = userManager(t) == nil
			return up
		}
	})
	if !up {
		t.Skip("systemd's user manager does not run here")
	}
	o := testOptions(t)
	exe := testProgram(t)
	call := func(args ...string) (info api.AgentInfo) {
		argv := Command(exe, append(args, o.Args()...)...)
		cmd := exec.Command(argv[0], argv[1:]...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		require.NoError(t, err, "%v: %s", args, stderr.String())
		if len(out) > 0 {
			require.NoError(t, json.Unmarshal(out, &info))
		}
		return info
	}
	info := call("start", "--boot")
	path := filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "systemd", "user", unitName)
	out, err := exec.Command("systemd-analyze", "verify", "--user", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
	enabled, err := systemctl("is-enabled", unitName)
	require.NoError(t, err)
	require.Equal(t, "enabled\n", enabled)
	require.NotEmpty(t, info.AfterReboot)
	t.Log(info.AfterReboot)
	cg, err := os.ReadFile("/proc/" + jsonInt(info.PID) + "/cgroup")
	require.NoError(t, err)
	require.Contains(t, string(cg), "/berth-agent-", "it runs as a service of the user's manager")

	// Ending the service ends the agent, not the terminals.
	c := NewClient(o.Socket)
	p := servertest.Attach(t, c, api.TerminalRequest{New: true})
	units, err := systemctl("list-units", "--plain", "--no-legend", "berth-agent-*.service")
	require.NoError(t, err)
	_, err = systemctl("stop", strings.Fields(units)[0])
	require.NoError(t, err)
	<-p.Done
	// What the unit does at boot.
	_, err = systemctl("start", unitName)
	require.NoError(t, err)
	again := call("info")
	require.NotEqual(t, info.PID, again.PID)
	require.Equal(t, 1, again.Terminals)
	q := servertest.Attach(t, c, api.TerminalRequest{})
	require.Equal(t, p.PID, q.PID)
	c.Close()

	call("uninstall", "--end")
	require.NoFileExists(t, path)
	_, err = systemctl("is-enabled", unitName)
	require.Error(t, err)
}

func jsonInt(n int) string { b, _ := json.Marshal(n); return string(b) }

//go:build bench

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/service/store"
	"berth/backend/transport/ssh/sshdtest"
)

// The benchmarks of whole programs: what a user waits for, beside what they would use instead. They
// print figures and assert nothing about time. `make bench` runs them with the built program.

// program is the program that the README's own command builds: not the test binary, which is larger and starts slower.
func program(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("make", "-C", "../..", "build").CombinedOutput()
	require.NoError(t, err, string(out))
	exe, err := filepath.Abs("../../bin/berth")
	require.NoError(t, err)
	return exe
}

// benchWorld is a world that runs the built program.
type benchWorld struct {
	*world
	exe string
}

func newBenchWorld(t *testing.T) *benchWorld {
	b := &benchWorld{world: newWorld(t), exe: program(t)}
	t.Cleanup(func() { _ = b.command("daemon", "stop").Run() })
	return b
}

// adopts adopts a host behind a real sshd, with the agent that releases put there: that, the file of known hosts, and
// the configuration of ssh.
func (b *benchWorld) adopts(name string) (s *sshdtest.Server, known, conf string) {
	s = sshdtest.Start(b.t, sshdtest.Options{})
	known = filepath.Join(b.t.TempDir(), "known")
	require.NoError(b.t, os.WriteFile(known, []byte(s.KnownHosts()+"\n"), 0o600))
	conf = sshdtest.Config(b.t, s.Stanza(name, known))
	b.env = []string{"BERTH_SSH_CONFIG=" + conf}
	must(b.t, b.command("adopt", name, name))
	return s, known, conf
}

func (b *benchWorld) command(args ...string) *exec.Cmd {
	cmd := exec.Command(b.exe, args...)
	cmd.Env = append(append(os.Environ(), "BERTH_HOME="+b.home), b.env...)
	return cmd
}

// must runs a command and returns how long it took and the CPU time it used.
func must(t *testing.T, cmd *exec.Cmd) (wall, cpu time.Duration) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	began := time.Now()
	err := cmd.Run()
	wall = time.Since(began)
	require.NoError(t, err, "%v: %s", cmd.Args, stderr.String())
	return wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// times runs f n times after a warm-up and returns the medians.
func times(n int, f func() (wall, cpu time.Duration)) (wall, cpu time.Duration) {
	f()
	var ws, cs []time.Duration
	for range n {
		w, c := f()
		ws, cs = append(ws, w), append(cs, c)
	}
	return median(ws), median(cs)
}

// inTurns runs ours and theirs n times in turns and returns the medians and the median ratio.
func inTurns(n int, ours, theirs func() time.Duration) (a, z time.Duration, ratio float64) {
	var as, zs []time.Duration
	var rs []float64
	for i := range n + 1 {
		var x, y time.Duration
		if i%2 == 0 {
			x = ours()
			y = theirs()
		} else {
			y = theirs()
			x = ours()
		}
		if i == 0 {
			continue // warm-up
		}
		as, zs, rs = append(as, x), append(zs, y), append(rs, float64(x)/float64(y))
	}
	slices.Sort(rs)
	return median(as), median(zs), rs[len(rs)/2]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

// fill writes n instances of a backend that this program does not have into the world's store.
func (b *benchWorld) fill(t *testing.T, n int) {
	t.Helper()
	h := b.at()
	require.NoError(t, h.Prepare())
	s, err := store.Open(t.Context(), h.Store())
	require.NoError(t, err)
	defer s.Close()
	var c store.Change
	now := time.Now().UTC()
	price := 3.06
	for i := range n {
		name := fmt.Sprintf("gpu-%05d", i)
		state := []api.State{api.StateRunning, api.StateStopped, api.StateRunning, api.StateUnknown}[i%4]
		c.Instances = append(c.Instances, store.Instance{Instance: api.Instance{ID: "i-" + name, Name: name, Backend: "demo",
			State: state, StateSince: now, Size: "p3.2xlarge", Region: "eu-west-1",
			Owner: "alice", CreatedAt: now, UpdatedAt: now, ObservedAt: &now, Address: "192.0.2.1", Port: 22, User: "alice",
			GPUs: []api.GPU{{Name: "V100", MemoryBytes: 16 << 30}}, VCPUs: 8,
			MemoryBytes: 61 << 30, DiskBytes: 120 << 30, PriceUSDPerHour: &price, RunningUSDPerHour: &price,
			Tags: map[string]string{"team": "nlp"}}, Token: "op-" + name})
	}
	require.NoError(t, s.Apply(t.Context(), &c))
}

func TestBenchStart(t *testing.T) {
	b := newBenchWorld(t)
	wall, cpu := times(20, func() (time.Duration, time.Duration) { return must(t, b.command("version")) })
	fmt.Printf("berth version: %s wall, %s CPU (target 20 ms)\n", ms(wall), ms(cpu))

	// On a terminal that never answers a query.
	quiet, _ := times(5, func() (time.Duration, time.Duration) {
		cmd := b.command("version")
		cmd.Env = append(cmd.Env, "TERM=xterm-256color")
		began := time.Now()
		f, err := pty.Start(cmd)
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, f) // ends with EIO
		require.NoError(t, cmd.Wait())
		return time.Since(began), 0
	})
	fmt.Printf("berth version on a terminal that never answers: %s\n", ms(quiet))
}

func TestBenchLs(t *testing.T) {
	b := newBenchWorld(t)
	b.fill(t, 1000)
	_, version := times(20, func() (time.Duration, time.Duration) { return must(t, b.command("version")) })
	wall, cpu := times(20, func() (time.Duration, time.Duration) { return must(t, b.command("ls")) })
	fmt.Printf("berth ls, 1,000 instances: %s wall, %s CPU; berth version %s CPU (target: 2 x %s + 20 ms)\n", ms(wall),
		ms(cpu), ms(version), ms(version))
}

func TestBenchCreate(t *testing.T) {
	b := newBenchWorld(t)
	must(t, b.command("ls"))
	n := 0
	create := func() (time.Duration, time.Duration) {
		n++
		name := "bench-" + strconv.Itoa(n)
		began := time.Now()
		must(t, b.command("create", name))
		must(t, b.command("exec", name, "--", "true")) // its shell answers
		wall := time.Since(began)
		must(t, b.command("rm", "-y", name))
		return wall, 0
	}
	warm, _ := times(10, create)
	cold, _ := times(10, func() (time.Duration, time.Duration) {
		must(t, b.command("daemon", "stop"))
		return create()
	})
	fmt.Printf("create until its shell answers: %s with a running daemon (target 300 ms), %s without (target 500 ms)\n",
		ms(warm), ms(cold))
}

func TestBenchFirstFrame(t *testing.T) {
	b := newBenchWorld(t)
	b.fill(t, 10_000)
	must(t, b.command("ls"))
	var cmds []*exec.Cmd
	first, _ := times(7, func() (time.Duration, time.Duration) {
		cmd := b.command()
		cmd.Env = append(cmd.Env, "TERM=xterm-256color")
		began := time.Now()
		f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 120})
		require.NoError(t, err)
		buf := make([]byte, 64<<10)
		var got []byte
		for !bytes.Contains(got, []byte("gpu-00005")) {
			n, err := f.Read(buf)
			require.NoError(t, err)
			got = append(got, buf[:n]...)
		}
		took := time.Since(began)
		go func() { _, _ = io.Copy(io.Discard, f) }()
		cmds = append(cmds, cmd)
		if len(cmds) > 1 {
			_ = cmds[0].Process.Kill()
			_ = cmds[0].Wait()
			cmds = cmds[1:]
		}
		return took, 0
	})
	time.Sleep(2 * time.Second) // the whole fleet is there
	pid := cmds[0].Process.Pid
	fmt.Printf("binary start to a frame with rows, 10,000 instances stored: %s (target 150 ms); dashboard %s, daemon %s resident (target 80 MB)\n", ms(first), rss(t, pid), rss(t, b.pid()))
	d0, c0, began := cpuOf(t, b.pid()), cpuOf(t, pid), time.Now()
	time.Sleep(20 * time.Second)
	el := time.Since(began)
	fmt.Printf("idle: dashboard %.2f %%, daemon %.2f %% of a core (target 0.5 %%)\n",
		100*float64(cpuOf(t, pid)-c0)/float64(el), 100*float64(cpuOf(t, b.pid())-d0)/float64(el))
	_ = cmds[0].Process.Kill()
	_ = cmds[0].Wait()
}

// rss is a process's resident memory.
func rss(t *testing.T, pid int) string {
	t.Helper()
	s, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for _, l := range strings.Split(string(s), "\n") {
		if v, ok := strings.CutPrefix(l, "VmRSS:"); ok {
			kb, _ := strconv.Atoi(strings.Fields(v)[0])
			return fmt.Sprintf("%.1f MB", float64(kb)/1000)
		}
	}
	return "?"
}

// cpuOf is the CPU time that a process has used.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	s, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	f := strings.Fields(string(s[bytes.LastIndexByte(s, ')')+2:]))
	u, _ := strconv.Atoi(f[11])
	k, _ := strconv.Atoi(f[12])
	return time.Duration(u+k) * 10 * time.Millisecond // USER_HZ is 100
}

// TestBenchPush measures how long after a change every client has seen it.
func TestBenchPush(t *testing.T) {
	b := newBenchWorld(t)
	must(t, b.command("create", "vision"))
	clients := make([]chan time.Time, 5)
	for i := range clients {
		ch := make(chan time.Time, 1000)
		clients[i] = ch
		go func() {
			_ = b.client().Watch(t.Context(), func(c api.Change) error { // ends with the test
				if c.Instance != nil && (c.Instance.State == api.StateStopping || c.Instance.State == api.StateStopped) {
					ch <- time.Now()
				}
				return nil
			})
		}()
	}
	c := b.client()
	var late []time.Duration
	for range 20 {
		op, err := c.Action(t.Context(), "vision", "stop", api.ActionRequest{})
		require.NoError(t, err)
		answered := time.Now()
		for _, ch := range clients {
			late = append(late, max(0, (<-ch).Sub(answered)))
			for len(ch) > 0 {
				<-ch
			}
		}
		_, err = c.Operations().Follow(t.Context(), op.ID, nil)
		require.NoError(t, err)
		op, err = c.Action(t.Context(), "vision", "start", api.ActionRequest{})
		require.NoError(t, err)
		_, err = c.Operations().Follow(t.Context(), op.ID, nil)
		require.NoError(t, err)
		for _, ch := range clients {
			for len(ch) > 0 {
				<-ch
			}
		}
	}
	slices.Sort(late)
	fmt.Printf("a change reaches 5 clients after the answer to the call that made it: median %s, worst %s (target 50 ms)\n", ms(late[len(late)/2]), ms(late[len(late)-1]))
}

// TestBenchSSH compares exec over SSH with the ssh program, in pairs.
func TestBenchSSH(t *testing.T) {
	b := newBenchWorld(t)
	s, known, conf := b.adopts("gpu1")
	control := filepath.Join(t.TempDir(), "c")
	ssh := func(master string, args ...string) *exec.Cmd {
		return exec.Command("ssh", append([]string{"-F", conf, "-o", "ControlMaster=" + master, "-o", "ControlPath=" +
			control, "gpu1"}, args...)...)
	}
	master := exec.Command("ssh", "-F", conf, "-o", "ControlMaster=yes", "-o", "ControlPath="+control, "-N", "gpu1")
	require.NoError(t, master.Start())
	defer func() {
		_ = master.Process.Signal(syscall.SIGTERM)
		_ = master.Wait()
	}()
	require.Eventually(t, func() bool { _, err := os.Stat(control); return err == nil }, 10*time.Second,
		10*time.Millisecond)

	paired := func(n int, ours, theirs func() *exec.Cmd) (a, z time.Duration, ratio float64) {
		took := func(f func() *exec.Cmd) func() time.Duration {
			return func() time.Duration { w, _ := must(t, f()); return w }
		}
		return inTurns(n, took(ours), took(theirs))
	}
	only := os.Getenv("BERTH_BENCH_ONLY") // a part of the name
	if strings.Contains("exec true, warm", only) {
		a, z, r := paired(40, func() *exec.Cmd { return b.command("exec", "gpu1", "--", "true") },
			func() *exec.Cmd { return ssh("no", "true") })
		fmt.Printf("exec true, warm: berth %s, ssh with ControlMaster %s: %.2f x (target 1.05 x)\n", ms(a), ms(z), r)
	}
	if strings.Contains("exec true, cold", only) {
		a, z, r := paired(10, func() *exec.Cmd {
			must(t, b.command("daemon", "stop"))
			must(t, b.command("ls")) // a daemon without a connection
			return b.command("exec", "gpu1", "--", "true")
		}, func() *exec.Cmd { return exec.Command("ssh", "-F", conf, "-o", "ControlPath=none", "gpu1", "true") })
		fmt.Printf("exec true, cold: berth %s, ssh %s: %.2f x (target 0.5 x)\n", ms(a), ms(z), r)
	}
	// A machine 50 ms away, seen from both.
	far := sshdtest.Far(t, s.Addr(), 25*time.Millisecond)
	moved := func(text string) string { return strings.ReplaceAll(text, strconv.Itoa(s.Port), strconv.Itoa(far)) }
	require.NoError(t, os.WriteFile(known, []byte(s.KnownHosts()+"\n"+moved(s.KnownHosts())+"\n"), 0o600))
	farConf := sshdtest.Config(t, s.Stanza("gpu1", known), moved(s.Stanza("far", known)))
	b.env = []string{"BERTH_SSH_CONFIG=" + farConf}
	must(t, b.command("adopt", "far", "far"))
	plain := func(host string, args ...string) *exec.Cmd {
		return exec.Command("ssh", append([]string{"-F", farConf, "-o", "ControlPath=none", host}, args...)...)
	}
	zero := func(cmd *exec.Cmd, mib int) *exec.Cmd {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		gen := exec.Command("head", "-c", strconv.Itoa(mib<<20), "/dev/zero")
		gen.Stdout = w
		require.NoError(t, gen.Start())
		_ = w.Close()
		go func() { _ = gen.Wait() }() // ends with its reader
		cmd.Stdin = r
		t.Cleanup(func() { _ = r.Close() })
		return cmd
	}
	for _, m := range []struct {
		name, host string
		mib        int
		from       bool
		target     float64
	}{
		{"512 MiB from the instance", "gpu1", 512, true, 0.95},
		{"512 MiB to the instance", "gpu1", 512, false, 0.9},
		{"48 MiB to an instance 50 ms away", "far", 48, false, 0.9},
		{"48 MiB from an instance 50 ms away", "far", 48, true, 0.9},
	} {
		if !strings.Contains(m.name, only) {
			continue
		}
		args := []string{"sh", "-c", "'cat >/dev/null'"}
		ours := []string{"exec", m.host, "--", "sh", "-c", "cat >/dev/null"}
		if m.from {
			args = []string{"head", "-c", strconv.Itoa(m.mib << 20), "/dev/zero"}
			ours = append([]string{"exec", m.host, "--"}, args...)
		}
		feed := func(cmd *exec.Cmd) *exec.Cmd {
			if m.from {
				return cmd
			}
			return zero(cmd, m.mib)
		}
		a, z, r := paired(11, func() *exec.Cmd { return feed(b.command(ours...)) },
			func() *exec.Cmd { return feed(plain(m.host, args...)) })
		fmt.Printf("%s: berth %s, ssh %s: %.2f x the speed (target %.2f x)\n", m.name, ms(a), ms(z), 1/r, m.target)
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/lease"
	"berth/backend/agent/lease/leasetest"
	"berth/backend/api"
	"berth/gpu/nvmltest"
	"berth/gpu/procs/proc"
)

// TestThreeUsersOfOneServer has three users of one host run many short jobs on its 8 GPUs, each with an agent of their
// own: no GPU is held twice and none is lost, and while all wait each gets about as much GPU time as the others, though
// the jobs of one take two GPUs each. It is 800 starts, in the long form 10,000.
func TestThreeUsersOfOneServer(t *testing.T) {
	leasetest.SeveralUsers(t)
	// Half a minute is a short time for shares: a few jobs more or less, and a busy machine, count in it.
	all, within := 800, 0.25
	if os.Getenv("BERTH_CHAOS") != "" {
		all, within = 10_000, 0.1
	}
	s := newServer(t, 8)
	users := []*world{s.user(60001), s.user(60002), s.user(60003)}
	gpus := []string{"1", "2", "1"}
	for i, w := range users {
		w.ok("create", "server")
		w.ok("set", "server", "jobs.slots=32")
		w.ok("run", "server", "--hold", "--array", "0-"+strconv.Itoa(all), "--gpus", gpus[i], "--", "sh", "-c",
			`cd $0; IFS=,; mkdir $BERTH_GPU_UUIDS || exit 9; echo >> started
sleep 0.$((BERTH_ARRAY_INDEX % 3))5; rmdir $BERTH_GPU_UUIDS`, s.marks)
	}
	for _, w := range users {
		w.ok("job", "release", "server", "1")
	}
	// What counts is who has the GPUs, as the folder of leases has it.
	held, used := map[int]float64{}, 0.0
	last := time.Now()
	for begun := last; s.started() < all; time.Sleep(20 * time.Millisecond) {
		require.Less(t, time.Since(begun), 30*time.Minute, "%d have started", s.started())
		d := time.Since(last).Seconds()
		last = last.Add(time.Since(last))
		for _, h := range s.leases.Holders(s.uuids) {
			if h.UID > 60000 { // else who has it has not yet said so
				held[h.UID] += d
				used += d
			}
		}
	}
	// One that is ended before its time would leave its mark to the next: nothing is ended that runs.
	for _, w := range users {
		w.ok("job", "hold", "server", "1")
	}
	t.Log("GPU seconds", held)
	for _, w := range users {
		require.InDelta(t, 1, held[int(w.uid)]*3/used, within, "%v", held)
		eventually(t, "none runs", func() bool {
			return w.ok("job", "ls", "server", "--array", "1", "--state", "preparing,running,stopping", "--json") == "[]\n"
		})
		w.ok("job", "cancel", "server", "1")
		var tally api.Job
		eventually(t, "it has ended", func() bool {
			require.NoError(t, json.Unmarshal([]byte(w.ok("job", "show", "server", "1", "--json")), &tally))
			return tally.State.Done()
		})
		require.Zero(t, tally.Elements.Failed, "no GPU was held twice")
	}
	l, err := s.leases.Take(s.uuids, lease.Holder{})
	require.NoError(t, err, "none is lost")
	l.Close()
	require.Empty(t, s.leases.Tickets(), "nobody waits")
}

// TestWhoUsedLessGoesFirst: what one user's agent could start at once is left to another one who used less, and says so
// of what waits; where that one's agent does not take it, the first goes on after a while.
func TestWhoUsedLessGoesFirst(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: nobody else can be two users")
	}
	t.Parallel()
	s := newServer(t, 1)
	ann, bob := s.user(60004), s.user(60005)
	run := func(w *world, file string) string {
		script := "while ! [ -e " + filepath.Join(s.marks, file) + " ]; do sleep 0.02; done"
		return strings.TrimSpace(w.ok("run", "server", "--gpus", "1", "--", "sh", "-c", script))
	}
	end := func(file string) {
		require.NoError(t, os.WriteFile(filepath.Join(s.marks, file), nil, 0o644))
	}
	for _, w := range []*world{ann, bob} {
		w.ok("create", "server")
	}
	running := func(w *world, id string) func() bool {
		return func() bool { return w.job("server", id).State == api.JobRunning }
	}
	first := run(ann, "first")
	eventually(t, "the first runs", running(ann, first))
	second, others := run(ann, "second"), run(bob, "others")
	s.bothWait(ann, bob)
	end("first")
	eventually(t, "who used nothing is first", running(bob, others))
	require.Equal(t, api.JobQueued, ann.job("server", second).State)
	eventually(t, "it says whom it waits for", func() bool {
		return strings.Contains(ann.job("server", second).Reason, "(GPU 0: job "+others+" of 60005, ")
	})
	end("others")
	eventually(t, "then it runs", running(ann, second))
	eventually(t, "ann has used more", func() bool {
		return ann.job("server", second).GPUSeconds > bob.job("server", others).GPUSeconds+1
	})

	last, slow := run(ann, "last"), run(bob, "slow")
	s.bothWait(ann, bob)
	agent := agentOf(t, bob.uid)
	require.NoError(t, syscall.Kill(agent, syscall.SIGSTOP))
	defer syscall.Kill(agent, syscall.SIGCONT) //nolint:errcheck // it is there
	end("second")
	eventually(t, "it is left to the other one", func() bool {
		return strings.Contains(ann.job("server", last).Reason, "(GPU 0 is free, but user 60005 comes first (")
	})
	eventually(t, "who does not take it", running(ann, last))
	require.NoError(t, syscall.Kill(agent, syscall.SIGCONT))
	end("last")
	eventually(t, "its turn comes", running(bob, slow))
	end("slow")
	eventually(t, "nobody waits", func() bool { return bob.job("server", slow).State.Done() && len(s.leases.Tickets()) == 0 })
}

// bothWait waits until two users have tickets, and the first has seen the other's.
func (s *server) bothWait(first, other *world) {
	s.t.Helper()
	at := 0.0
	eventually(s.t, "both wait", func() bool {
		of := map[uint32]float64{}
		for _, t := range s.leases.Tickets() {
			of[uint32(t.UID)] = t.At
		}
		if at == 0 {
			at = of[other.uid]
		}
		return at > 0 && of[first.uid] > at
	})
}

// agentOf is the agent of a user of this test.
func agentOf(t *testing.T, uid uint32) int {
	t.Helper()
	all, err := proc.All()
	require.NoError(t, err)
	for _, st := range all {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", st.PID))
		fi, serr := os.Stat(fmt.Sprintf("/proc/%d", st.PID))
		if err != nil || serr != nil || !strings.Contains(string(b), "agent\x00run") {
			continue
		}
		if o, ok := fi.Sys().(*syscall.Stat_t); ok && o.Uid == uid {
			return st.PID
		}
	}
	t.Fatal("there is no agent")
	return 0
}

// server is a host of several users, with a driver that shows nothing of their programs.
type server struct {
	t      *testing.T
	dir    string
	marks  string // a folder that all can write to
	env    []string
	leases *lease.Folder
	uuids  []string
}

func newServer(t *testing.T, gpus int) *server {
	dir, err := os.MkdirTemp("/tmp", "berth-server")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	s := &server{t: t, dir: dir, marks: filepath.Join(dir, "marks")}
	cards := nvmltest.A100s(gpus)
	for i := range cards {
		cards[i].Processes = nil
		s.uuids = append(s.uuids, cards[i].UUID)
	}
	fake := nvmltest.New(t, nvmltest.Scenario{GPUs: cards})
	driver := *fake
	s.copy(&driver.Library)
	s.copy(&driver.SMI)
	s.copy(&driver.Path)
	require.NoError(t, os.Mkdir(s.marks, 0o700))
	require.NoError(t, os.Chmod(s.marks, 0o777)) // not sticky: whoever has the GPU has its mark
	require.NoError(t, os.WriteFile(filepath.Join(s.marks, "started"), nil, 0o600))
	require.NoError(t, os.Chmod(filepath.Join(s.marks, "started"), 0o666))
	leases := filepath.Join(dir, "leases")
	require.NoError(t, os.Mkdir(leases, 0o700))
	require.NoError(t, os.Chmod(leases, fs.ModeSticky|0o777))
	s.leases, err = lease.Open([]string{leases})
	require.NoError(t, err)
	s.env = append(driver.Env(), "BERTH_LEASES="+leases)
	if agent := testAgent(); agent != "" {
		s.copy(&agent)
		s.env = append(s.env, "BERTH_TEST_AGENT="+agent)
	}
	return s
}

// copy copies a file to where all can read it.
func (s *server) copy(path *string) {
	s.t.Helper()
	b, err := os.ReadFile(*path)
	require.NoError(s.t, err)
	*path = filepath.Join(s.dir, filepath.Base(*path))
	require.NoError(s.t, os.WriteFile(*path, b, 0o755))
}

// user is one of its users.
func (s *server) user(uid uint32) *world {
	home := filepath.Join(s.dir, fmt.Sprint(uid))
	require.NoError(s.t, os.Mkdir(home, 0o700))
	require.NoError(s.t, os.Chown(home, int(uid), int(uid)))
	w := newWorld(s.t)
	w.uid, w.user, w.home, w.env = uid, home, filepath.Join(home, "home"), s.env
	exe, err := os.Executable()
	require.NoError(s.t, err)
	s.copy(&exe)
	w.exe = exe
	return w
}

// started is how many jobs have started.
func (s *server) started() int {
	b, err := os.ReadFile(filepath.Join(s.marks, "started"))
	require.NoError(s.t, err)
	return strings.Count(string(b), "\n")
}

// TestDoctorSaysHowGPUsAreShared: which folder is used on an instance, that it is advice, and what is wrong with it. Of
// this computer it says the same where it has GPUs.
func TestDoctorSaysHowGPUsAreShared(t *testing.T) {
	t.Parallel()
	cards := nvmltest.A100s(1)
	cards[0].Processes = nil
	fake := nvmltest.New(t, nvmltest.Scenario{GPUs: cards})
	leases := filepath.Join(t.TempDir(), "leases")
	w := newWorld(t)
	w.env = append(fake.Env(), "BERTH_LEASES="+leases)
	says := func(name string) (c api.Check) {
		var all []api.Check
		require.NoError(t, json.Unmarshal([]byte(w.ok("doctor", "--json")), &all))
		for _, x := range all {
			if x.Area == "gpus" && x.Name == name {
				c = x
			}
		}
		return c
	}
	w.ok("create", "vision")
	eventually(t, "it is missing", func() bool {
		return says("vision").Message == "users share its GPUs through "+leases+", which the first job with a GPU makes; "+
			"that is advice: a program that asks nobody can use any GPU"
	})
	w.ok("job", "wait", "vision", w.submit("--gpus", "1", "--", "true"))
	eventually(t, "it is found", func() bool { return strings.Contains(says("vision").Message, leases+", which ") })
	require.Regexp(t, `info +gpus +vision +users share its GPUs through .*  -> .*sudo mkdir -p -m 1777 /var/lib/berth/host`,
		w.ok("doctor"))
	require.NoError(t, os.Chmod(leases, 0o700))
	eventually(t, "it is unusable", func() bool { return says("vision").Status == "warn" })
	require.Contains(t, says("vision").Fix, "chmod 1777 "+leases)
}

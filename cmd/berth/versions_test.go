//go:build e2e

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/base/version"
	"berth/backend/transport/ssh/sshdtest"
)

// oldCommit is the last commit of capability 1. What was built of it is kept in the user's cache.
const oldCommit = "f3d96da"

// The versions of the builds. All are given by the linker, as in releases.
const oldVersion, newVersion, newerVersion = "0.1.0", "0.2.0", "0.3.0"

// cannot skips the test for want of something that a machine may lack; in CI nothing may be lacking.
func cannot(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("BERTH_CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// goBuild builds packages of the module in dir, as releases are built.
func goBuild(t *testing.T, dir, version, tags, out string, packages ...string) {
	t.Helper()
	stamp := "-X berth/backend/base/version.number=" + version +
		" -X berth/backend/base/version.built=2026-01-01T00:00:00Z"
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-tags", tags, "-ldflags", "-s -w " + stamp, "-o", out},
		packages...)
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	b, err := cmd.CombinedOutput()
	require.NoError(t, err, "building %v: %s", packages, b)
}

// pack compresses a program with the module in dir, as builds carry it.
func pack(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"run", "-trimpath", "./assets/compress"}, args...)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	b, err := cmd.CombinedOutput()
	require.NoError(t, err, string(b))
}

// oldBuild returns the program of oldCommit: a release build, which carries its small agent, which carries its shim.
func oldBuild(t *testing.T) string {
	t.Helper()
	git := func(args ...string) ([]byte, error) {
		cmd := exec.Command("git", append([]string{"-c", "safe.directory=*"}, args...)...)
		cmd.Dir = "../.."
		return cmd.Output()
	}
	for _, program := range []string{"git", "go", "tar"} {
		if _, err := exec.LookPath(program); err != nil {
			cannot(t, "an older build can't be made: "+program+" is not installed")
		}
	}
	commit, err := git("rev-parse", "--verify", "--quiet", oldCommit+"^{commit}")
	if err != nil {
		why := "this is no git repository, or it lacks commit " + oldCommit
		if b, err := git("rev-parse", "--is-shallow-repository"); err == nil && strings.TrimSpace(string(b)) == "true" {
			why = "this clone is shallow and lacks commit " + oldCommit + ": git fetch --unshallow"
		}
		cannot(t, "an older build can't be made: "+why)
	}
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	dir := filepath.Join(cache, "berth-test-builds", strings.TrimSpace(string(commit)))
	program := filepath.Join(dir, "berth")
	if _, err := os.Stat(program); err == nil {
		return program
	}
	src := t.TempDir()
	archive := filepath.Join(t.TempDir(), "tree.tar")
	_, err = git("archive", "--output", archive, oldCommit)
	require.NoError(t, err)
	b, err := exec.Command("tar", "-xf", archive, "-C", src).CombinedOutput()
	require.NoError(t, err, string(b))
	goos, goarch := goEnv(t, "GOOS"), goEnv(t, "GOARCH")
	small := filepath.Join(src, "small")
	goBuild(t, src, oldVersion, "", small+"/berth-shim", "./cmd/berth-shim")
	pack(t, src, small+"/berth-shim", "backend/agent/embedded/berth-shim-"+goos+"-"+goarch+".zst")
	goBuild(t, src, oldVersion, "embedshim", small+"/berth-agent", "./cmd/berth-agent")
	require.NoError(t, os.MkdirAll(filepath.Join(src, "assets", "agents"), 0o755))
	pack(t, src, small+"/berth-agent", "assets/agents/berth-agent-"+goos+"-"+goarch+".zst")
	// Whole or not at all: the tests of two clones may build it at once.
	require.NoError(t, os.MkdirAll(dir, 0o755))
	part := fmt.Sprintf("%s.%d", program, os.Getpid())
	goBuild(t, src, oldVersion, "embedagents", part, "./cmd/berth")
	require.NoError(t, os.Rename(part, program))
	return program
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	b, err := exec.Command("go", "env", name).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(b))
}

// shellOn is a person at a terminal of an instance.
type shellOn struct {
	t    *testing.T
	cmd  *exec.Cmd
	pty  *os.File
	mu   sync.Mutex
	seen bytes.Buffer
	done chan struct{}
}

func (w *world) shellOn(args ...string) *shellOn {
	w.t.Helper()
	s := &shellOn{t: w.t, cmd: w.cmd(context.Background(), args...), done: make(chan struct{})}
	s.cmd.Env = append(s.cmd.Env, "TERM=xterm-256color")
	var err error
	s.pty, err = pty.StartWithSize(s.cmd, &pty.Winsize{Rows: 24, Cols: 80})
	require.NoError(w.t, err)
	go func() {
		defer close(s.done)
		_, _ = io.Copy(writerFunc(func(p []byte) (int, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.seen.Write(p)
		}), s.pty) // it ends with the program
	}()
	w.t.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait(); _ = s.pty.Close(); <-s.done })
	return s
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func (s *shellOn) types(text string) {
	s.t.Helper()
	_, err := s.pty.WriteString(text)
	require.NoError(s.t, err)
}

func (s *shellOn) sees(text string) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		s.mu.Lock()
		seen := s.seen.String()
		s.mu.Unlock()
		if strings.Contains(seen, text) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("never saw %q in %q", text, seen)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// does has the shell work out a word, which its echo does not show.
func (s *shellOn) does(n int) {
	s.t.Helper()
	s.types(fmt.Sprintf("echo mark-$((%d-1))\r", n+1))
	s.sees(fmt.Sprintf("mark-%d\r\n", n))
}

// leaves detaches and waits for the client's end.
func (s *shellOn) leaves() {
	s.t.Helper()
	s.types("\r~.")
	_ = s.cmd.Wait()
}

// daemonIs returns the process id and the version of the daemon that runs.
func (w *world) daemonIs() (int, string) {
	w.t.Helper()
	var info api.Info
	require.NoError(w.t, json.Unmarshal([]byte(w.ok("daemon", "status", "--json")), &info))
	return info.PID, info.Version
}

// TestVersions runs the build of oldCommit and this one in one home, with one instance of this host and one behind a
// real sshd.
func TestVersions(t *testing.T) {
	began := time.Now()
	took := func(what string) { t.Logf("%6.1f s: %s", time.Since(began).Seconds(), what) }
	oldExe := oldBuild(t)
	took("the old build")
	newExe, newerExe := filepath.Join(t.TempDir(), "berth"), filepath.Join(t.TempDir(), "berth")
	goBuild(t, "../..", newVersion, "", newExe, "./cmd/berth")
	goBuild(t, "../..", newerVersion, "", newerExe, "./cmd/berth")
	took("the new builds")
	s := sshdtest.Start(t, sshdtest.Options{})
	home := newWorld(t)
	home.exe = newerExe // what ends everything
	home.reach(s)
	by := func(exe string) *world {
		w := *home
		w.exe = exe
		return &w
	}
	old, new, newer := by(oldExe), by(newExe), by(newerExe)
	require.Contains(t, old.ok("version"), oldVersion)
	require.Contains(t, new.ok("version"), newVersion)
	names := []string{"vision", "gpu1"}

	old.ok("create", "vision")
	old.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
	oldPID, v := old.daemonIs()
	require.Equal(t, oldVersion, v)
	shells, counts := map[string]*shellOn{}, map[string]*counting{}
	for _, name := range names {
		shells[name] = old.shellOn("ssh", name)
		shells[name].does(42)
		counts[name] = count(t, old.cmd(context.Background(), "exec", name, "--", "sh", "-c", countScript))
	}
	took("the old build works")

	// A new client and an old daemon that is in use.
	r := new.run("ls")
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.err, "the daemon that runs is older, "+oldVersion)
	for _, name := range names {
		r = new.run("exec", name, "--", "sh", "-c", "echo out; exit 5")
		require.Equal(t, result{"out\n", "", 5}, r, "what is said is said once")
		r = new.run("exec", name, "--", "printf", "%s", "\xff")
		require.Equal(t, 1, r.code)
		require.Contains(t, r.err, "no UTF-8")
		require.Empty(t, r.out, "nothing was run")
		counts[name].next()
		shells[name].does(43)
	}
	pid, _ := new.daemonIs()
	require.Equal(t, oldPID, pid)
	for _, name := range names {
		counts[name].end()
		shells[name].leaves()
	}
	took("a new client used the old daemon")

	// It is replaced as soon as nothing goes through it.
	eventually(t, "the old daemon is replaced", func() bool {
		r := new.run("ls")
		require.Equal(t, result{r.out, "", 0}, r)
		pid, v = new.daemonIs()
		return pid != oldPID
	})
	require.Equal(t, newVersion, v)
	eventually(t, "it has ended", func() bool { return syscall.Kill(oldPID, 0) != nil })
	for _, name := range names {
		require.Equal(t, "out\n", new.ok("exec", name, "--", "echo", "out"))
		eventually(t, "its agent is replaced", func() bool {
			a := new.show(name).Agent
			return a != nil && a.Version == newVersion && a.Capability == version.Capability
		})
		require.Equal(t, "\xff", new.ok("exec", name, "--", "printf", "%s", "\xff"))
		// The old build's shim, which is never replaced, holds the shell; the new agent and client show it.
		again := new.shellOn("ssh", name)
		again.sees("mark-43")
		again.does(44)
		require.Equal(t, shimOf(t, new, name), "old shim", "%s", name)
		shells[name] = again
	}
	took("the new daemon took over")

	// An old client and a new daemon.
	for _, name := range names {
		counts[name] = count(t, new.cmd(context.Background(), "exec", name, "--", "sh", "-c", countScript))
	}
	require.Contains(t, old.ok("ls"), "vision")
	for _, name := range names {
		require.Equal(t, 5, old.run("exec", name, "--", "sh", "-c", "exit 5").code)
		counts[name].next()
	}
	same, _ := new.daemonIs()
	require.Equal(t, pid, same, "an older client replaces nothing")
	took("an old client used the new daemon")

	// A newer client, and a daemon that hands over while it is in use.
	r = newer.run("ls")
	require.Equal(t, result{r.out, "", 0}, r)
	next, v := newer.daemonIs()
	require.Equal(t, newerVersion, v)
	for _, name := range names {
		counts[name].next()
		shells[name].does(45)
		require.Equal(t, "out\n", newer.ok("exec", name, "--", "echo", "out"))
	}
	require.NoError(t, syscall.Kill(pid, 0), "it carries them")
	require.Contains(t, newer.ok("doctor"), fmt.Sprintf("pid %d, version %s, has made way", pid, newVersion))
	for _, name := range names {
		counts[name].next()
		counts[name].end()
		shells[name].types("exit\r")
		_ = shells[name].cmd.Wait()
	}
	eventually(t, "it ends with its last stream", func() bool { return syscall.Kill(pid, 0) != nil })
	took("a daemon handed over")

	// An old program that would have to start a daemon over the store of a newer build.
	newer.ok("daemon", "stop")
	eventually(t, "it ends", func() bool { return syscall.Kill(next, 0) != nil })
	store := home.at().Store()
	have := userVersion(t, store, 0)
	refused := func(w *world, version int) {
		t.Helper()
		before := hashes(t, filepath.Dir(store))
		r := w.run("ls")
		require.Equal(t, 1, r.code, r.err)
		require.Contains(t, r.err, fmt.Sprintf("version %d", version))
		require.Contains(t, r.err, "a newer Berth wrote it")
		require.Equal(t, before, hashes(t, filepath.Dir(store)))
		require.NotZero(t, w.run("daemon", "status").code)
	}
	refused(old, have)
	took("an old program left a newer build's store alone")

	// An old daemon and newer agents, as of a colleague who came first. Its store is the copy from before the migration.
	copies, err := filepath.Glob(store + ".version-*")
	require.NoError(t, err)
	require.Len(t, copies, 1)
	require.NoError(t, os.Rename(copies[0], store))
	for _, name := range names {
		require.Equal(t, result{"out\n", "", 5}, old.run("exec", name, "--", "sh", "-c", "echo out; exit 5"))
	}
	last, v := old.daemonIs()
	require.Equal(t, oldVersion, v)
	eventually(t, "the older daemon is replaced", func() bool {
		newer.ok("ls")
		next, _ = newer.daemonIs()
		return next != last
	})
	for _, name := range names {
		require.Equal(t, "out\n", newer.ok("exec", name, "--", "echo", "out"))
		eventually(t, "an older daemon replaced no newer agent", func() bool {
			a := newer.show(name).Agent
			return a != nil && a.Version == newerVersion
		})
	}
	took("an old daemon used newer agents")

	// Any program over a store of a version that it does not know.
	newer.ok("daemon", "stop")
	eventually(t, "it ends", func() bool { return syscall.Kill(next, 0) != nil })
	require.Equal(t, have, userVersion(t, store, 0), "it was migrated again")
	userVersion(t, store, have+1)
	t.Cleanup(func() { userVersion(t, store, have) }) // or what was made could not be deleted
	refused(old, have+1)
	refused(new, have+1)
	userVersion(t, store, have)
	require.Contains(t, newer.ok("ls"), "vision")
	took("a store of no known version was left alone")
}

// shimOf says whose shim holds the first terminal of an instance: "old shim" if it is not of this build's program.
func shimOf(t *testing.T, w *world, name string) string {
	t.Helper()
	var terms []struct {
		PID int `json:"pid"`
	}
	require.NoError(t, json.Unmarshal([]byte(w.ok("term", "ls", "--json", name)), &terms))
	require.NotEmpty(t, terms)
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", terms[0].PID))
	require.NoError(t, err)
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	parent, err := strconv.Atoi(fields[1])
	require.NoError(t, err)
	own, err := os.ReadFile(w.exe)
	require.NoError(t, err)
	shim, err := os.ReadFile(fmt.Sprintf("/proc/%d/exe", parent))
	require.NoError(t, err)
	if bytes.Equal(own, shim) {
		return "new shim"
	}
	return "old shim"
}

// userVersion returns the version of a store's schema, and sets it where to is not 0.
func userVersion(t *testing.T, path string, to int) (have int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.QueryRow("PRAGMA user_version").Scan(&have))
	if to != 0 {
		_, err = db.Exec(fmt.Sprintf("PRAGMA user_version = %d", to))
		require.NoError(t, err)
	}
	return have
}

// hashes reads all files of a state but those that a refused start may write: the log, the program's own copy, locks,
// what SQLite lays beside a database that is only looked at (an index of the log, and a log that is empty), and the
// figures that the instance's agent, which lives on, writes all the time.
func hashes(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.Base(path)
		if d.IsDir() && name == "bin" {
			return filepath.SkipDir
		}
		if !d.Type().IsRegular() || strings.Contains(name, ".log") || strings.Contains(name, "lock") ||
			strings.HasSuffix(name, "-shm") || name == "history" {
			return nil
		}
		b, err := os.ReadFile(path)
		if len(b) > 0 || !strings.HasSuffix(name, "-wal") {
			out[path] = fmt.Sprintf("%x", sha256.Sum256(b))
		}
		return err
	}))
	return out
}

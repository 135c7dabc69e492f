package code

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"berth/backend/agent/environ"
	"berth/backend/agent/program"
	"berth/queue"
)

const (
	// limit is how long a look may take.
	limit = 5 * time.Second
	// maxSaid bounds what git says, in bytes. A tree with more changes is changed, and no more is known of it.
	maxSaid = 4 << 20
	// maxStats is of how many changed files the times and sizes are compared.
	maxStats = 2000
)

// Look looks at the repository that a folder is in. It returns nil where there is none that git can read, or no git,
// or no commit. login is asked for the environment to look with.
func Look(ctx context.Context, login func(context.Context) []string, dir string) (*queue.Code, error) {
	top := find(dir)
	if top == "" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	env := login(ctx)
	path, err := program.Look("git", "/", environ.Lookup(env, "PATH"))
	if err != nil {
		return nil, nil // no git
	}
	g := git{path: path, env: environment(env), dir: top}
	conf, err := g.run(ctx, "config", "--show-scope", "-z", "--list")
	if err != nil || !harmless(conf) {
		return g.commit(ctx)
	}
	out, err := g.run(ctx, "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=no", "--ignore-submodules=all",
		"--no-renames", "--no-ahead-behind")
	if err != nil && !errors.Is(err, errMuch) {
		return g.commit(ctx)
	}
	return parse(out, top), nil
}

// find is the nearest folder, from dir upwards, with a repository; "": there is none.
func find(dir string) string {
	for dir = filepath.Clean(dir); ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

// environment is what git gets: nothing that points it elsewhere, and nothing that lets it lock, ask or fetch.
func environment(env []string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return strings.HasPrefix(kv, "GIT_") })
	return environ.Merge(env, "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", "GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=none",
		"LC_ALL=C")
}

// git runs git in a repository.
type git struct {
	path, dir string
	env       []string
}

// errMuch says that git said more than is read.
var errMuch = errors.New("it says too much")

// run is what git says. The options come before those of the repository's configuration.
func (g git) run(ctx context.Context, args ...string) ([]byte, error) {
	args = append([]string{"--no-pager", "-C", g.dir, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=" + os.DevNull}, args...)
	cmd := exec.CommandContext(ctx, g.path, args...)
	cmd.Env, cmd.Dir = g.env, "/"
	var out capped
	cmd.Stdout = &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case out.over:
		return out.b, errMuch
	case err != nil:
		return nil, fmt.Errorf("git %s: %w", args[7], err)
	}
	return out.b, nil
}

// capped keeps the beginning of what is written to it, and takes no more.
type capped struct {
	b    []byte
	over bool
}

func (c *capped) Write(b []byte) (int, error) {
	if len(c.b)+len(b) > maxSaid {
		c.over = true
		return 0, errMuch
	}
	c.b = append(c.b, b...)
	return len(b), nil
}

// usual are the filters of git-lfs, which many repositories name in their own configuration.
var usual = []string{"git-lfs clean -- %f", "git-lfs smudge -- %f", "git-lfs smudge --skip -- %f", "git-lfs filter-process",
	"git-lfs filter-process --skip"}

// harmless reports whether a repository's own configuration names no program that git status would run. What the user
// has configured for all repositories is theirs.
func harmless(conf []byte) bool {
	records := strings.Split(string(conf), "\x00")
	for i := 0; i+1 < len(records); i += 2 {
		scope, entry := records[i], records[i+1]
		if scope == "system" || scope == "global" || scope == "command" {
			continue
		}
		key, value, _ := strings.Cut(entry, "\n")
		switch {
		case strings.HasPrefix(key, "lfs.extension."), strings.HasPrefix(key, "include"):
			return false
		case strings.HasPrefix(key, "filter."):
			name := key[strings.LastIndexByte(key, '.')+1:]
			if name != "required" && !slices.Contains(usual, value) {
				return false
			}
		}
	}
	return true
}

// commit is the commit alone, which takes no look at the files.
func (g git) commit(ctx context.Context) (*queue.Code, error) {
	out, err := g.run(ctx, "rev-parse", "--quiet", "--verify", "HEAD^{commit}")
	if err != nil {
		return nil, err
	}
	id := strings.TrimSpace(string(out))
	if !isCommit(id) {
		return nil, nil
	}
	return &queue.Code{Commit: id}, nil
}

// parse reads what git status says of a repository.
func parse(out []byte, top string) *queue.Code {
	c := &queue.Code{}
	dirty, seen := false, 0
	mark := sha256.New()
	for record := range bytes.SplitSeq(out, []byte{0}) {
		line := string(record)
		if id, ok := strings.CutPrefix(line, "# branch.oid "); ok && isCommit(id) {
			c.Commit = id
		}
		if line == "" || line[0] == '#' {
			continue
		}
		dirty = true
		fmt.Fprintf(mark, "%s\x00", line)
		// "1 XY sub mH mI mW hH hI path", "u XY sub m1 m2 m3 mW h1 h2 h3 path"
		n := 9
		if line[0] == 'u' {
			n = 11
		}
		fields := strings.SplitN(line, " ", n)
		if seen++; len(fields) != n || seen > maxStats {
			continue
		}
		if fi, err := os.Lstat(filepath.Join(top, fields[n-1])); err == nil {
			fmt.Fprintf(mark, "%d %d\x00", fi.Size(), fi.ModTime().UnixNano())
		}
	}
	if c.Commit == "" {
		return nil
	}
	if c.Dirty = &dirty; dirty {
		c.Mark = hex.EncodeToString(mark.Sum(nil)[:8])
	}
	return c
}

// isCommit reports whether s is the id of a commit.
func isCommit(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && (len(s) == 40 || len(s) == 64)
}

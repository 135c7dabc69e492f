package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"berth/backend/agent/environ"
	"berth/backend/agent/part"
	"berth/backend/agent/process"
	"berth/backend/agent/program"
	"berth/backend/base/plaintext"
	"berth/queue"
)

const (
	// activateLimit is how long an activation with its hooks may take.
	activateLimit = 2 * time.Minute
	// listLimit is how long conda may take to list its environments.
	listLimit = 30 * time.Second
	// maxEnv bounds the environment that an activation leaves, in bytes.
	maxEnv = 4 << 20
	// maxSaid bounds what is kept of what an activation prints, in bytes.
	maxSaid = 64 << 10
)

// An activation is a script: it is run by a shell with the environment so far, and the environment that it leaves is
// taken over a pipe of its own, so that hooks may print what they like. $1 is the environment, $2 the conda, $3 env;
// hooks may change them, and whether an error ends the shell. That a hook fails does not matter, as for a user.
const (
	scriptBegin = `berth_env=$3; `
	scriptEnd   = `; set +e; exec "$berth_env" -0 >&3`
	venvScript  = scriptBegin + `. "$1/bin/activate"` + scriptEnd
	condaScript = scriptBegin + `berth_code=$("$2" shell.posix activate "$1") || exit; eval "$berth_code"` + scriptEnd
	mambaScript = scriptBegin + `berth_code=$("$2" shell activate --shell posix "$1") || exit; eval "$berth_code"` +
		scriptEnd
)

// Check says why a job's conda or virtual environment can't be activated, for the submit. dir is the job's folder.
func Check(ctx context.Context, h *part.Host, spec queue.Spec) error {
	if spec.Conda == "" && spec.Venv == "" {
		return nil
	}
	dir, err := h.Dir(spec.Workdir)
	if err != nil {
		return err
	}
	_, err = findActivation(ctx, spec, dir, environ.Merge(h.Environment(ctx, nil, false, ""), spec.Env...))
	return err
}

// activation is how an environment is activated.
type activation struct {
	what   string // in words
	script string
	args   []string // $1 and $2
}

func findActivation(ctx context.Context, spec queue.Spec, dir string, env []string) (activation, error) {
	if spec.Conda != "" && spec.Venv != "" {
		return activation{}, errors.New("a conda environment and a virtual environment can't both be active: give one")
	}
	if spec.Venv != "" {
		return findVenv(spec.Venv, dir, environ.Lookup(env, "HOME"))
	}
	return findConda(ctx, spec.Conda, dir, env)
}

func findVenv(name, dir, home string) (activation, error) {
	path := place(name, dir, home)
	a := activation{what: "the virtual environment " + path, script: venvScript, args: []string{path, ""}}
	if fi, err := os.Stat(filepath.Join(path, "bin", "activate")); err != nil || !fi.Mode().IsRegular() {
		return a, fmt.Errorf("there is no virtual environment %s: it has no file bin/activate (python3 -m venv makes one)", path)
	}
	if _, err := os.Stat(filepath.Join(path, "bin", "python")); err != nil {
		return a, fmt.Errorf("the virtual environment %s is broken: its Python is gone (%w); make it anew", path, err)
	}
	return a, nil
}

// place is the path that a name means: ~ is the home, and what is relative begins at dir.
func place(name, dir, home string) string {
	switch {
	case name == "~" || strings.HasPrefix(name, "~/"):
		return filepath.Join(home, name[1:])
	case filepath.IsAbs(name):
		return filepath.Clean(name)
	}
	return filepath.Join(dir, name)
}

// condaRoots are where conda usually is, below the home and elsewhere.
var condaRoots = []string{"miniconda3", "anaconda3", "miniforge3", "mambaforge", ".conda", "micromamba",
	"/opt/conda", "/opt/miniconda3", "/opt/anaconda3", "/opt/miniforge3", "/anaconda"}

func findConda(ctx context.Context, name, dir string, env []string) (activation, error) {
	home := environ.Lookup(env, "HOME")
	a := activation{what: "the conda environment " + name, script: condaScript}
	exe := condaProgram(home, env)
	if exe == "" {
		return a, fmt.Errorf("%s can't be activated: there is no conda on the PATH of the login shell, and none in its usual "+
			"places (~/miniconda3, ~/miniforge3, /opt/conda …)", a.what)
	}
	if filepath.Base(exe) == "micromamba" {
		a.script = mambaScript
	}
	prefix := name
	if strings.ContainsRune(name, '/') {
		prefix = place(name, dir, home)
		if !isEnvironment(prefix) {
			return a, fmt.Errorf("there is no conda environment in %s", prefix)
		}
	} else if !isNamed(name, exe, home, env) {
		names, err := listConda(ctx, exe, env)
		if err != nil {
			return a, fmt.Errorf("looking for %s: %w", a.what, err)
		}
		if !slices.Contains(names, name) {
			return a, fmt.Errorf("there is no conda environment %q; there are: %s", name, strings.Join(names, ", "))
		}
	}
	a.args = []string{prefix, exe}
	return a, nil
}

// condaProgram is the conda to ask, or "".
func condaProgram(home string, env []string) string {
	for _, v := range []string{"CONDA_EXE", "MAMBA_EXE"} {
		if exe := environ.Lookup(env, v); runnable(exe) {
			return exe
		}
	}
	for _, n := range []string{"conda", "micromamba"} {
		if exe, err := program.Look(n, "/", environ.Lookup(env, "PATH")); err == nil {
			return exe
		}
	}
	for _, root := range condaRoots {
		if exe := filepath.Join(place(root, home, home), "bin", "conda"); runnable(exe) {
			return exe
		}
	}
	return ""
}

func runnable(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && filepath.IsAbs(path) && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0
}

// isEnvironment reports whether a folder is a conda environment.
func isEnvironment(prefix string) bool {
	fi, err := os.Stat(filepath.Join(prefix, "conda-meta"))
	return err == nil && fi.IsDir()
}

// isNamed looks where environments usually are, which takes no time; conda itself takes half a second to say it.
func isNamed(name, exe, home string, env []string) bool {
	if name == "base" || name == "root" {
		return true
	}
	dirs := []string{filepath.Join(filepath.Dir(filepath.Dir(exe)), "envs"), filepath.Join(home, ".conda", "envs")}
	for _, v := range []string{"CONDA_ENVS_PATH", "CONDA_ENVS_DIRS"} {
		dirs = append(dirs, filepath.SplitList(environ.Lookup(env, v))...)
	}
	if root := environ.Lookup(env, "MAMBA_ROOT_PREFIX"); root != "" {
		dirs = append(dirs, filepath.Join(root, "envs"))
	}
	return slices.ContainsFunc(dirs, func(d string) bool { return isEnvironment(filepath.Join(d, name)) })
}

// listConda asks conda for the names of its environments.
func listConda(ctx context.Context, exe string, env []string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, "env", "list", "--json")
	cmd.Env, cmd.Dir, cmd.WaitDelay = env, "/", time.Second
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s env list: %w", exe, err)
	}
	var list struct {
		Envs []string `json:"envs"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("%s env list: %w", exe, err)
	}
	names := []string{"base"}
	for _, e := range list.Envs {
		if filepath.Base(filepath.Dir(e)) == "envs" {
			names = append(names, filepath.Base(e))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// activate is the environment after the activation that a spec asks for.
func activate(ctx context.Context, spec queue.Spec, dir string, env []string) ([]string, error) {
	a, err := findActivation(ctx, spec, dir, env)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &refusal{program.NotExecutable, err.Error()}
	}
	out, said, err := a.run(ctx, dir, env)
	switch {
	case err == nil:
		return out, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	if words := plaintext.Short(lastLine(said), 200); words != "" {
		err = fmt.Errorf("%w: %s", err, words)
	}
	return nil, &refusal{program.NotExecutable, fmt.Sprintf("activating %s: %v", a.what, err)}
}

// run runs the activation.
func (a activation) run(ctx context.Context, dir string, env []string) (out []string, said []byte, err error) {
	shell := "/bin/bash"
	if !runnable(shell) {
		shell = "/bin/sh"
	}
	printer, err := program.Look("env", "/", environ.Lookup(os.Environ(), "PATH")+":/usr/bin:/bin")
	if err != nil {
		return nil, nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("making a pipe: %w", err)
	}
	defer r.Close()
	limited, cancel := context.WithTimeout(ctx, activateLimit)
	defer cancel()
	words := &lastBytes{}
	cmd := exec.Command(shell, append([]string{"-c", a.script, "berth"}, append(slices.Clone(a.args), printer)...)...)
	cmd.Env, cmd.Dir = env, dir
	cmd.Stdout, cmd.Stderr = words, words
	cmd.ExtraFiles = []*os.File{w}
	cmd.WaitDelay = time.Second // a hook may leave something running that has the output open
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		return nil, nil, err
	}
	set := process.Set{Session: cmd.Process.Pid}
	stop := context.AfterFunc(limited, func() {
		_, _ = set.End(context.Background(), 0, nil)
		_ = r.SetReadDeadline(time.Unix(1, 0))
	})
	b, rerr := io.ReadAll(io.LimitReader(r, maxEnv))
	err = cmd.Wait()
	stop()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	switch {
	case limited.Err() != nil && ctx.Err() == nil:
		err = fmt.Errorf("it took more than %v", activateLimit)
	case err == nil && rerr != nil:
		err = rerr
	case err == nil && len(b) == 0:
		err = errors.New("it ended before it was done")
	}
	if err != nil {
		return nil, words.b, err
	}
	return activated(env, strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")), nil, nil
}

// shellsOwn are variables that a shell sets for itself.
var shellsOwn = []string{"_", "SHLVL", "PWD", "OLDPWD", "PS1", "BASH_EXECUTION_STRING"}

// activated is the environment that an activation left. What is the shell's own is as it was before, and so is what
// some shells do not hand on: variables with names that they can't have.
func activated(before, after []string) []string {
	out := slices.DeleteFunc(after, func(kv string) bool {
		k, _, ok := strings.Cut(kv, "=")
		return !ok || slices.Contains(shellsOwn, k)
	})
	for _, kv := range before {
		k, _, _ := strings.Cut(kv, "=")
		if slices.Contains(shellsOwn, k) || !isName(k) {
			out = environ.Merge(out, kv)
		}
	}
	return out
}

// isName reports whether a variable has a name that every shell can have.
func isName(k string) bool {
	for i, c := range []byte(k) {
		if c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return k != ""
}

// lastBytes keeps the end of what is written to it.
type lastBytes struct{ b []byte }

func (l *lastBytes) Write(b []byte) (int, error) {
	if l.b = append(l.b, b...); len(l.b) > maxSaid {
		l.b = l.b[len(l.b)-maxSaid/2:]
	}
	return len(b), nil
}

// lastLine is the last line that says something.
func lastLine(b []byte) string {
	lines := bytes.FieldsFunc(b, func(r rune) bool { return r == '\n' || r == '\r' })
	for _, l := range slices.Backward(lines) {
		if s := strings.TrimSpace(plaintext.Clean(strings.ToValidUTF8(string(l), "?"))); s != "" {
			return s
		}
	}
	return ""
}

package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
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
)

const (
	// captureLimit is how long a login shell may take to print its environment.
	captureLimit = 20 * time.Second
	// captureWait is how long an exec waits for that; then it goes without.
	captureWait = 5 * time.Second
	// maxEnv bounds a captured environment, in bytes.
	maxEnv = 4 << 20
)

// kept are the variables that a login keeps from the process that began it. Everything else belongs
// to whoever happened to start the agent: a virtual environment, a stale SSH_AUTH_SOCK, a tmux.
var kept = []string{"PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_DATA_DIRS", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}

var keptPrefixes = []string{"LC_", "NVIDIA_"}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// baseEnv is the environment that a login shell of this user begins with.
func baseEnv(o Options, environ []string) []string {
	var out []string
	for _, kv := range environ {
		k, v, ok := strings.Cut(kv, "=")
		if ok && v != "" && (slices.Contains(kept, k) || slices.ContainsFunc(keptPrefixes, func(p string) bool { return strings.HasPrefix(k, p) })) {
			out = append(out, kv)
		}
	}
	if lookup(out, "PATH") == "" {
		out = append(out, "PATH="+defaultPath)
	}
	name := userName()
	return append(out, "HOME="+o.Home, "USER="+name, "LOGNAME="+name, "SHELL="+o.Shell)
}

// berthEnv is what everything on the instance can know of it.
func berthEnv(o Options) []string {
	out := []string{"BERTH_SCRATCH=" + o.Scratch}
	if o.Instance != "" {
		out = append(out, "BERTH_INSTANCE="+o.Instance)
	}
	if o.InstanceID != "" {
		out = append(out, "BERTH_INSTANCE_ID="+o.InstanceID)
	}
	if o.Share != "" {
		out = append(out, "BERTH_SHARE="+o.Share)
	}
	return out
}

// lookup returns the last value of a variable, or "".
func lookup(env []string, key string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if k, v, _ := strings.Cut(env[i], "="); k == key {
			return v
		}
	}
	return ""
}

// merge returns env changed by over; a later value replaces an earlier one. What is no variable is
// dropped.
func merge(env []string, over ...string) []string {
	at := map[string]int{}
	out := make([]string, 0, len(env)+len(over))
	for _, list := range [][]string{env, over} {
		for _, kv := range list {
			k, _, ok := strings.Cut(kv, "=")
			if !ok || k == "" || strings.IndexByte(kv, 0) >= 0 {
				continue
			}
			if i, seen := at[k]; seen {
				out[i] = kv
				continue
			}
			at[k] = len(out)
			out = append(out, kv)
		}
	}
	return out
}

// login is the environment of the user's login shell: asked for once, in the background.
type login struct {
	done chan struct{}
	env  []string
	warn string // why it could not be had
}

// captureLogin starts asking. ctx ends it; done is closed in any case.
func captureLogin(ctx context.Context, o Options, base []string, exe string) *login {
	l := &login{done: make(chan struct{})}
	go func() {
		defer close(l.done)
		env, err := capture(ctx, o, base, exe)
		if err != nil {
			l.warn = fmt.Sprintf("the environment of the login shell %s is unknown, commands run with a plain one: %v", o.Shell, err)
			env = base
		}
		l.env = env
	}()
	return l
}

// environment waits for the login environment, a limited time, and returns it or the plain one.
func (l *login) environment(ctx context.Context, base []string) []string {
	select {
	case <-l.done:
		return l.env
	default:
	}
	t := time.NewTimer(captureWait)
	defer t.Stop()
	select {
	case <-l.done:
		return l.env
	case <-t.C:
	case <-ctx.Done():
	}
	return base
}

// warning says what is wrong with the environment, as far as it is known yet.
func (l *login) warning() string {
	select {
	case <-l.done:
		return l.warn
	default:
		return ""
	}
}

// capture runs the login shell so that it runs this program, which prints the environment between
// markers: the shell's own language matters little then, nor does what its start-up files print.
// A leading dash in argv[0] is how login(1) asks for a login shell, which every shell understands;
// `sh -l` is not known everywhere.
func capture(ctx context.Context, o Options, base []string, exe string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, captureLimit)
	defer cancel()
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	mark := hex.EncodeToString(b[:])
	words := Command(exe, "env", mark)
	for i, w := range words {
		if strings.ContainsAny(w, "'\\\n!") {
			return nil, fmt.Errorf("the program's path %q can't be quoted for every shell", exe)
		}
		words[i] = "'" + w + "'"
	}
	line := strings.Join(words, " ")
	name := filepath.Base(o.Shell)
	var errs []error
	for _, argv := range [][]string{{"-" + name, "-c", line}, {name, "-l", "-c", line}, {name, "-c", line}} {
		env, err := captureWith(ctx, o, base, argv, mark)
		if err == nil {
			return env, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("its start-up files took more than %v", captureLimit)
		}
	}
	return nil, errors.Join(errs...)
}

func captureWith(ctx context.Context, o Options, base, argv []string, mark string) ([]string, error) {
	var out limited
	cmd := exec.CommandContext(ctx, o.Shell)
	cmd.Args, cmd.Env, cmd.Dir, cmd.Stdout = argv, merge(base, berthEnv(o)...), o.Home, &out
	if fi, err := os.Stat(o.Home); err != nil || !fi.IsDir() {
		cmd.Dir = "/"
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it has nobody to ask
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // what start-up files left in the background may hold the pipe
	err := cmd.Run()
	if env, ok := parseMarked(out.b.Bytes(), mark); ok {
		return env, nil // also if the shell's own exit code is odd
	}
	if err == nil {
		err = errors.New("it did not run the command")
	}
	return nil, fmt.Errorf("%s: %w", strings.Join(argv[:len(argv)-1], " "), err)
}

// limited keeps the first maxEnv bytes written to it.
type limited struct{ b bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := maxEnv - l.b.Len(); room > 0 {
		l.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// parseMarked finds NUL-separated variables between two marks in what a shell printed.
func parseMarked(b []byte, mark string) ([]string, bool) {
	_, b, ok := bytes.Cut(b, []byte(mark+"\x00"))
	if !ok {
		return nil, false
	}
	body, _, ok := bytes.Cut(b, []byte("\x00"+mark))
	if !ok {
		return nil, false
	}
	var env []string
	for kv := range strings.SplitSeq(string(body), "\x00") {
		k, _, ok := strings.Cut(kv, "=")
		switch {
		case !ok || k == "":
		case k == "_" || k == "SHLVL" || k == "PWD" || k == "OLDPWD": // of that shell only
		default:
			env = append(env, kv)
		}
	}
	return env, len(env) > 0
}

// printEnv is the hidden subcommand that capture lets the shell run.
func printEnv(mark string, w io.Writer) error {
	_, err := io.WriteString(w, "\n"+mark+"\x00"+strings.Join(os.Environ(), "\x00")+"\x00"+mark+"\n")
	return err
}

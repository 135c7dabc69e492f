package root

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/backend/base/shellquote"
)

// DefaultPath is where programs of the system are.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Caller calls verbs. It is written down for the processes around steps.
type Caller struct {
	Program []string `json:"program"`        // the command line before the verb: berth-agent root
	Sudo    []string `json:"sudo,omitempty"` // what is put before it to be root; empty: this process is root
}

// New returns the Caller of this process: program is the command line before the verb.
func New(program []string) Caller {
	c := Caller{Program: program}
	if os.Geteuid() != 0 {
		c.Sudo = []string{"sudo", "-n", "--"}
	}
	return c
}

// Command is the command line of a verb.
func (c Caller) Command(verb string, args ...string) []string {
	out := append(append([]string{}, c.Sudo...), c.Program...)
	return append(append(out, verb), args...)
}

// ByHand is the command with which an administrator does the same, and whether what it names is installed. It never
// names a program that anybody but root can change: the user's own copy could be another program by then.
func (c Caller) ByHand(verb string, args ...string) (line string, installed bool) {
	words := []string{"sudo"}
	if verb == "setup-step" || verb == "cgroup-make" { // whose it is
		words = append(words, "env", fmt.Sprintf("SUDO_UID=%d", os.Getuid()))
	}
	program, installed := c.rootsCopy()
	words = append(words, program...)
	for _, a := range append([]string{verb}, args...) {
		words = append(words, shellquote.Word(a))
	}
	return strings.Join(words, " "), installed
}

// installAs is where an administrator would put a copy.
const installAs = "/usr/local/bin/berth"

// rootsCopy finds the command line before the verb with a program that only root can change.
func (c Caller) rootsCopy() (words []string, installed bool) {
	if len(c.Program) > 0 {
		if p := onlyRoots(c.Program[0]); p != "" {
			words = append(words, shellquote.Word(p))
			for _, a := range c.Program[1:] {
				words = append(words, shellquote.Word(a))
			}
			return words, true
		}
	}
	for _, dir := range filepath.SplitList(DefaultPath) {
		if p := onlyRoots(filepath.Join(dir, "berth")); p != "" {
			return []string{shellquote.Word(p), "agent", "root"}, true
		}
	}
	return []string{installAs, "agent", "root"}, false
}

// onlyRoots returns the program at path, links followed, if nobody but root can change it or put another one in its
// place, else "".
func onlyRoots(path string) string {
	program, err := filepath.EvalSymlinks(path)
	if err != nil || !filepath.IsAbs(program) {
		return ""
	}
	if fi, err := os.Stat(program); err != nil || !fi.Mode().IsRegular() || fi.Mode()&0o111 == 0 {
		return ""
	}
	for p := program; ; p = filepath.Dir(p) {
		fi, err := os.Lstat(p)
		if err != nil {
			return ""
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		sticky := fi.IsDir() && fi.Mode()&os.ModeSticky != 0 // others can't replace what is root's in there
		if !ok || st.Uid != 0 || (fi.Mode()&0o022 != 0 && !sticky) {
			return ""
		}
		if p == "/" {
			return program
		}
	}
}

// Run runs a verb and returns its output. what says for people what it is about: "signalling process 42".
// CodeForbidden: root can't be had without a question. Other errors are the verb's.
func (c Caller) Run(ctx context.Context, what, verb string, args ...string) ([]byte, error) {
	return c.run(ctx, what, append([]string{verb}, args...), verb, args...)
}

// Check finds out whether a verb could be run: what and the hint are those of its error.
func (c Caller) Check(ctx context.Context, what, verb string, args ...string) error {
	if len(c.Sudo) == 0 {
		return nil
	}
	_, err := c.run(ctx, what, append([]string{verb}, args...), "check")
	return err
}

// run runs a verb; wanted is the verb with its arguments that what is about.
func (c Caller) run(ctx context.Context, what string, wanted []string, verb string, args ...string) ([]byte, error) {
	argv := c.Command(verb, args...)
	path, err := LookPath(argv[0], []string{"PATH=" + os.Getenv("PATH")})
	if err != nil {
		if len(c.Sudo) == 0 {
			return nil, api.Errorf(api.CodeFailed, "%s: %w", what, err)
		}
		return nil, c.needsRoot(what, "sudo is not installed", wanted)
	}
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, path, argv[1:]...)
	cmd.Env = []string{"PATH=" + DefaultPath, "LC_ALL=C"} // sudo's words are read
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it has nobody to ask
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if err == nil {
		return out.Bytes(), nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s: %s did not end in time: %w", what, argv[0], ctx.Err())
	}
	return nil, c.explain(what, wanted, verb, said.String()+"\n"+out.String(), err)
}

// explain says why a verb failed: by the verb's own line, else it was sudo that did not run it.
func (c Caller) explain(what string, wanted []string, verb, said string, err error) error {
	last := ""
	for line := range strings.Lines(said) {
		line = plaintext.Clean(strings.ToValidUTF8(strings.TrimSpace(line), "?"))
		if rest, ok := strings.CutPrefix(line, prefix(verb)); ok {
			if code, msg, ok := strings.Cut(rest, ": "); ok {
				return api.Errorf(api.Code(code), "%s: %s", what, msg)
			}
		}
		if line != "" {
			last = lastBytes(line, 200)
		}
	}
	var exit *exec.ExitError
	if len(c.Sudo) > 0 && errors.As(err, &exit) && exit.ExitCode() == 1 { // sudo's; a verb would have said why
		if last == "" {
			last = "sudo: " + err.Error()
		}
		return c.needsRoot(what, last, wanted)
	}
	return api.Errorf(api.CodeFailed, "%s: %s ended with %w: %s", what, verb, err, last)
}

// needsRoot is the one error for all that sudo refuses.
func (c Caller) needsRoot(what, why string, wanted []string) error {
	line, installed := c.ByHand(wanted[0], wanted[1:]...)
	first := ""
	if !installed {
		first = " once it is installed as " + installAs + ", which only root can change"
	}
	return api.Errorf(api.CodeForbidden, "%s needs root, which can't be had here without a question (%s)", what, why).
		WithHint("an administrator can run it%s: %s; or let this user run sudo without a password", first, line)
}

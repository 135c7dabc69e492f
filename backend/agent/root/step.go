package root

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/backend/api"
)

// The parts of a step.
const (
	StepCheck = "check"
	StepRun   = "run"
)

// maxFile bounds what is read of a set-up's folder, in bytes: as much as a plan may have, twice.
const maxFile = 2 << 20

// StepFile is the name of a file of a step in its plan's folder; attempt 0 is for those of all attempts.
func StepFile(step, attempt int, ext string) string {
	if attempt == 0 {
		return fmt.Sprintf("%02d.%s", step+1, ext)
	}
	return fmt.Sprintf("%02d.%d.%s", step+1, attempt, ext)
}

// StepEnv is the file with the extension "env": the variables of a step that root runs. They stand on no
// command line, where everybody could read them.
type StepEnv struct {
	Env []string `json:"env"` // K=V
}

// StepArgs are the arguments of the verb setup-step. The folder must be named as it is: no part of its path
// may be a symbolic link.
func StepArgs(folder string, step, attempt int, part string) []string {
	return []string{folder, strconv.Itoa(step), strconv.Itoa(attempt), part}
}

type step struct {
	folder  string
	step    int
	attempt int
	part    string
}

// parseStep reads FOLDER STEP ATTEMPT check|run.
func parseStep(args []string) (action, error) {
	if len(args) != 4 {
		return nil, wrong("setup-step takes a folder, the numbers of a step and an attempt, and check or run")
	}
	s := step{folder: args[0], part: args[3]}
	if !filepath.IsAbs(s.folder) || path.Clean(s.folder) != s.folder || s.folder == "/" || strings.IndexByte(s.folder,
		0) >= 0 {
		return nil, wrong("%.100q is no absolute path of a folder, written in the shortest way", s.folder)
	}
	var err1, err2 error
	s.step, err1 = number(args[1], 0, 499)
	s.attempt, err2 = number(args[2], 1, 1<<30)
	if err := errors.Join(err1, err2); err != nil {
		return nil, wrong("%.20q and %.20q are not the numbers of a step and an attempt", args[1], args[2])
	}
	if s.part != StepCheck && s.part != StepRun {
		return nil, wrong("%.20q is no part of a step: check or run", s.part)
	}
	return func(context.Context, io.Writer) error { return s.exec() }, nil
}

// callingUser is who called sudo; without sudo it is root.
func callingUser() (uint32, error) {
	v, ok := os.LookupEnv("SUDO_UID")
	if !ok {
		return uint32(os.Getuid()), nil
	}
	uid, err := strconv.ParseUint(v, 10, 32)
	if err != nil {
		return 0, api.Errorf(api.CodeForbidden, "SUDO_UID=%.20q does not say who called", v)
	}
	return uint32(uid), nil
}

// exec becomes the step's script. It returns only if that fails.
func (s step) exec() error {
	uid, err := callingUser()
	if err != nil {
		return err
	}
	script, argv, env, err := s.load(uid)
	if err != nil {
		return err
	}
	program, err := LookPath(argv[0], env)
	if err != nil {
		return err
	}
	// The script is run by its handle: what was looked at is what is run, whatever lies at its path by now.
	fd := int(script.Fd())
	if fd != scriptFD {
		if err := unix.Dup2(fd, scriptFD); err != nil {
			return err
		}
	} else if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	err = syscall.Exec(program, append(argv, ScriptPath), env)
	runtime.KeepAlive(script)
	return fmt.Errorf("running %s: %w", program, err)
}

// scriptFD is the handle by which a script is read, ScriptPath its name.
const scriptFD = 3

// load opens what was written down for the step by the user uid, and says how its script is run.
func (s step) load(uid uint32) (script *os.File, argv, env []string, err error) {
	dir, err := openFolder(s.folder)
	if err != nil {
		return nil, nil, nil, err
	}
	defer dir.Close()
	if err := owned(dir, uid, unix.S_IFDIR, 0o022); err != nil {
		return nil, nil, nil, err
	}
	vars, text, err := openFile(dir, StepFile(s.step, s.attempt, "env"), uid, 0o077)
	if err != nil {
		return nil, nil, nil, err
	}
	vars.Close()
	var e StepEnv
	if err := json.Unmarshal(text, &e); err != nil {
		return nil, nil, nil, fmt.Errorf("reading %s: %w", vars.Name(), err)
	}
	for _, kv := range e.Env {
		if k, _, ok := strings.Cut(kv, "="); !ok || !Variable(k) || strings.IndexByte(kv, 0) >= 0 {
			return nil, nil, nil, fmt.Errorf("reading %s: %.40q is no variable KEY=VALUE", vars.Name(), kv)
		}
	}
	ext := "sh"
	if s.part == StepCheck {
		ext = "check.sh"
	}
	script, text, err = openFile(dir, StepFile(s.step, 0, ext), uid, 0o022)
	if err != nil {
		return nil, nil, nil, err
	}
	if _, err := script.Seek(0, io.SeekStart); err != nil { // where a handle's name is the handle itself
		script.Close()
		return nil, nil, nil, err
	}
	return script, Interpreter(string(text)), merged(os.Environ(), e.Env), nil
}

// merged is what sudo gave, with the step's variables over it.
func merged(base, over []string) []string {
	at := map[string]int{}
	var out []string
	for _, kv := range append(slices.Clone(base), over...) {
		k, _, _ := strings.Cut(kv, "=")
		if i, ok := at[k]; ok {
			out[i] = kv
			continue
		}
		at[k] = len(out)
		out = append(out, kv)
	}
	return out
}

// openFolder opens a folder by its path, no part of which is a symbolic link.
func openFolder(folder string) (*os.File, error) {
	fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening /: %w", err)
	}
	for name := range strings.SplitSeq(folder[1:], "/") {
		next, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		_ = unix.Close(fd)
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return nil, api.Errorf(api.CodeForbidden, "opening %s: %q is no folder; a symbolic link is not followed", folder,
				name)
		}
		if err != nil {
			return nil, fmt.Errorf("opening %s, at %q: %w", folder, name, err)
		}
		fd = next
	}
	return os.NewFile(uintptr(fd), folder), nil
}

// openFile opens a file of a folder and reads it. It must be a plain file of uid that has no second name and
// none of the rights in forbidden.
func openFile(dir *os.File, name string, uid uint32, forbidden uint32) (*os.File, []byte, error) {
	full := filepath.Join(dir.Name(), name)
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, nil, api.Errorf(api.CodeForbidden, "%s is a symbolic link, which is not followed", full)
	case err != nil:
		return nil, nil, &fs.PathError{Op: "open", Path: full, Err: err}
	}
	f := os.NewFile(uintptr(fd), full)
	err = owned(f, uid, unix.S_IFREG, forbidden)
	var b []byte
	if err == nil {
		b, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	}
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", full, maxFile)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, b, nil
}

// owned checks what an open file is, whose, and who else may do something with it.
func owned(f *os.File, uid uint32, kind, forbidden uint32) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("looking at %s: %w", f.Name(), err)
	}
	mode := uint32(st.Mode)
	switch {
	case mode&unix.S_IFMT != kind:
		return api.Errorf(api.CodeForbidden, "%s is not a plain file or folder", f.Name())
	case st.Uid != uid:
		return api.Errorf(api.CodeForbidden, "%s belongs to the user %d, and the user %d asks for it", f.Name(), st.Uid, uid)
	case mode&forbidden != 0:
		return api.Errorf(api.CodeForbidden, "%s has the mode %#o: others could change or read it", f.Name(), mode&0o7777)
	case kind == unix.S_IFREG && st.Nlink != 1:
		return api.Errorf(api.CodeForbidden, "%s has %d names", f.Name(), st.Nlink)
	}
	return nil
}

//go:build front

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"berth/assets/packed"
	"berth/assets/whole"
	"berth/backend/api"
)

// verbs are those that scripts and hands run again and again. All else is the whole program's, which stands compressed
// in this one: a start takes most of its time for what is linked into a program, and these need no dashboard, no daemon
// and no provider.
func (a *app) verbs() []verb {
	return []verb{
		{"ls", "fleet", a.lsCmd},
		{"show", "fleet", a.showCmd},
		{"ssh", "use", a.sshCmd},
		{"exec", "use", a.execCmd},
		{"cp", "use", a.cpCmd},
		{"run", "use", a.runCmd},
		{"job", "use", a.jobCmd},
		{"term", "use", a.termCmd},
		{"version", "know", a.versionCmd},
	}
}

func (a *app) main(ctx context.Context, args []string) int {
	if a.alone(args) != nil && !sends(args) {
		return a.run(ctx, args)
	}
	err := a.handOn()
	a.report(err)
	return api.ExitCode(err)
}

// sends reports whether a verb has --sync: what reads .gitignore is not in this program.
func sends(args []string) bool {
	for _, arg := range args {
		switch {
		case arg == "--":
			return false
		case arg == "--sync", strings.HasPrefix(arg, "--sync="):
			return true
		}
	}
	return false
}

// sendCode is the whole program's: main has handed on what sends a folder.
func (a *app) sendCode(_ context.Context, _ *api.WorkspaceClient, _ string, code jobFolder, _ *api.JobRequest,
	_ bool) error {
	if code.dir == "" {
		return nil
	}
	return a.handOn()
}

func (a *app) dashboard(*cobra.Command) error { return a.handOn() }

// handOn runs the whole program in place of this one, with the same arguments. It returns only if it can't.
func (a *app) handOn() error {
	path, err := a.unpacked()
	if err != nil {
		return api.Errorf(api.CodeStore, "unpacking the rest of this program: %w", err).
			WithHint("make some room, or set BERTH_HOME to a folder that can be written")
	}
	return fmt.Errorf("running %s: %w", path, syscall.Exec(path, os.Args, os.Environ()))
}

// unpacked is program, but keeps the whole program in memory where there is no home yet, or none that can be written:
// the help pages need none, and leave nothing behind.
func (a *app) unpacked() (string, error) {
	err := a.findHome()
	if err == nil {
		if _, err = os.Stat(a.home.Bin()); err == nil {
			var path string
			if path, err = a.program(); err == nil {
				return path, nil
			}
		}
	}
	f, merr := memoryFile()
	if merr == nil {
		_, merr = packed.Write(f, bytes.NewReader(whole.Packed))
	}
	if merr == nil {
		return fmt.Sprintf("/proc/self/fd/%d", f.Fd()), nil
	}
	if errors.Is(err, fs.ErrNotExist) && errors.Is(merr, errors.ErrUnsupported) {
		return a.program()
	}
	return "", errors.Join(err, merr)
}

// program returns the path of the whole program, which is unpacked once for each build: where a copy of it would stand
// had it been started itself (paths.CopyProgram).
func (a *app) program() (string, error) {
	sum, length, _ := strings.Cut(strings.TrimSpace(whole.Sum), " ")
	size, err := strconv.ParseInt(length, 10, 64)
	if err != nil {
		return "", fmt.Errorf("this build carries no program of a known size: %q", whole.Sum)
	}
	path := filepath.Join(a.home.Bin(), sum, "berth")
	if fi, err := os.Stat(path); err == nil && fi.Size() == size {
		return path, nil
	}
	return packed.Unpack(bytes.NewReader(whole.Packed), a.home.Bin(), "berth")
}

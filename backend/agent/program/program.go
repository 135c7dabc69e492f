// Package program finds the program of a command as a shell would, and says why a command can't be run.
package program

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"berth/backend/api"
)

// The statuses of a shell for a command that it could not run.
const (
	NotFound      = 127
	NotExecutable = 126
)

// Error says why a command can't be run. Status is the status that a shell has for it.
type Error struct {
	Status int
	why    *api.Error
}

// Error implements error, in one line.
func (e *Error) Error() string { return e.why.Message + " (" + e.why.Hint + ")" }

// Unwrap returns the same for those who know no status.
func (e *Error) Unwrap() error { return e.why }

// Look finds a program by a command's own PATH and folder.
func Look(name, dir, path string) (string, error) {
	if strings.ContainsRune(name, '/') {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, nil // the kernel says what is wrong with it
	}
	closed := ""
	for _, d := range filepath.SplitList(path) {
		if d == "" {
			d = "."
		}
		if !filepath.IsAbs(d) {
			d = filepath.Join(dir, d)
		}
		p := filepath.Join(d, name)
		fi, err := os.Stat(p)
		switch {
		case err != nil || fi.IsDir():
		case fi.Mode()&0o111 != 0:
			return p, nil
		case closed == "":
			closed = p
		}
	}
	if closed != "" {
		return "", cannot(name, closed, fs.ErrPermission)
	}
	return "", &Error{NotFound, api.Errorf(api.CodeFailed, "the command %q was not found on the instance (PATH is %s)",
		name, path).WithHint("give its full path, or set PATH in a start-up file of your shell, as for its terminals")}
}

// Explain says why the program at path could not be started for the command name. It is an Error where that is
// because of what the command is, and not because the system lacks something.
func Explain(err error, name, path string) error {
	var no syscall.Errno
	if !errors.As(err, &no) {
		return api.Errorf(api.CodeFailed, "running %q: %w", name, err)
	}
	switch no {
	case syscall.ENOENT, syscall.ENOTDIR:
		if _, err := os.Stat(path); err == nil {
			return cannot(name, path, errors.New("what its first line names, or its loader, is not there"))
		}
		return &Error{NotFound, api.Errorf(api.CodeFailed, "the command %q was not found on the instance: there is no %s",
			name, path).WithHint("a relative path begins at the working directory")}
	case syscall.E2BIG:
		return cannot(name, path, errors.New("its arguments and environment are longer than the system there takes"))
	case syscall.ENOEXEC:
		return cannot(name, path, errors.New("exec format error: it is no program of this system, and no script whose "+
			"first line names what runs it (#!/bin/sh)"))
	case syscall.EACCES, syscall.EPERM, syscall.ETXTBSY, syscall.EISDIR, syscall.ELOOP, syscall.EINVAL,
		syscall.ENAMETOOLONG:
		if fi, err := os.Stat(path); err == nil && fi.IsDir() {
			return cannot(name, path, errors.New("it is a folder"))
		}
		return cannot(name, path, no)
	}
	return api.Errorf(api.CodeFailed, "running %q (%s): %w", name, path, no)
}

func cannot(name, path string, why error) *Error {
	return &Error{NotExecutable, api.Errorf(api.CodeFailed, "the command %q can't be executed: %s", name, why.Error()).
		WithHint("it is %s", path)}
}

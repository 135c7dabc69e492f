package queue

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Limits of a spec, so that one can't fill the journal or the memory.
const (
	MaxSpecBytes = 1 << 20 // of arguments, environment and folders together
	MaxName      = 1000
	MaxAfter     = 1000
	MaxRetries   = 1000
	MaxNotify    = 20
	MaxPriority  = 1 << 30
	MaxRanks     = 1024
	MaxImage     = 1000 // bytes of its name
	MaxCPUs      = 1 << 16
)

// Compiled when they are first needed: the agent starts often, and few instances have jobs.
var (
	variable = pattern(`^[^=\x00]+=[^\x00]*$`)
	plain    = pattern(`^[A-Za-z0-9_.,/:=+@%-]*$`) // means itself to each shell, quoted or not
	signal   = pattern(`^[A-Z][A-Z0-9]*$`)
)

func pattern(s string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(s) })
}

func hasNUL(s string) bool { return strings.IndexByte(s, 0) >= 0 }

// Check says what is wrong with a spec, whoever made it.
func (s Spec) Check() error {
	if len(s.Argv) == 0 || s.Argv[0] == "" {
		return errors.New("there is no command to run")
	}
	if s.Shell && len(s.Argv) != 1 {
		return errors.New("a shell takes one argument, its script: quote it")
	}
	bytes := len(s.Workdir) + len(s.Name)
	for _, a := range s.Argv {
		bytes += len(a)
		if hasNUL(a) {
			return fmt.Errorf("the argument %q has a NUL byte", a)
		}
	}
	for _, v := range s.Env {
		bytes += len(v)
		if !variable().MatchString(v) {
			return fmt.Errorf("the variable %q is not KEY=VALUE", v)
		}
	}
	switch {
	case bytes > MaxSpecBytes:
		return fmt.Errorf("arguments and environment have %d bytes: at most %d go", bytes, MaxSpecBytes)
	case !filepath.IsAbs(s.Workdir) || hasNUL(s.Workdir):
		return fmt.Errorf("the folder to run in, %q, is not absolute", s.Workdir)
	case len(s.Name) > MaxName || len(s.Group) > MaxGroup:
		return fmt.Errorf("a name has at most %d bytes, and a group %d", MaxName, MaxGroup)
	case s.Conda != "" && s.Venv != "":
		return errors.New("a job has either a conda environment or a venv")
	case s.Request.Slots < -1 || s.Request.GPUs < -1:
		return errors.New("a job can't take less than nothing")
	case s.Request.GPUMemory < 0 || s.Request.GPUs == 0 && s.Request.GPUMemory > 0:
		return errors.New("a job without a GPU gets no memory of one")
	case s.Ranks < 0 || s.Ranks > MaxRanks:
		return fmt.Errorf("a job has up to %d processes of its own", MaxRanks)
	case s.Ranks > 0 && s.Request.GPUs > 0 && s.Request.GPUs != s.Ranks:
		return fmt.Errorf("%d processes, one a GPU, can't have %d GPUs", s.Ranks, s.Request.GPUs)
	case s.Priority < -MaxPriority || s.Priority > MaxPriority:
		return fmt.Errorf("a priority is from %d to %d", -MaxPriority, MaxPriority)
	case len(s.After) > MaxAfter:
		return fmt.Errorf("a job waits for at most %d others: have it wait for an array instead", MaxAfter)
	case len(s.Notify) > MaxNotify:
		return fmt.Errorf("at most %d are told of a job", MaxNotify)
	case s.Retries < 0 || s.Retries > MaxRetries:
		return fmt.Errorf("retries are from 0 to %d", MaxRetries)
	case s.CPUs < 0 || s.CPUs > MaxCPUs || s.Memory < 0:
		return errors.New("a limit of CPUs or of memory is below 0, or too large")
	case len(s.RetryOn) > 0 && s.Retries == 0:
		return errors.New("causes to retry on need a number of retries")
	case s.Timeout < 0 || s.Grace < 0 || s.Notice.Before < 0 || s.LogLimit < 0 || s.Expect < 0 || s.ExpectLog < 0:
		return errors.New("a time or a limit is below 0")
	case s.Timeout > math.MaxInt64/4 || s.Grace > math.MaxInt64/4:
		return errors.New("a time is too long")
	}
	for _, d := range s.After {
		if d.ID.Number < 1 || d.When != Success && d.When != Any && d.When != Failure {
			return fmt.Errorf("%q is nothing to wait for", d)
		}
	}
	for _, c := range s.RetryOn {
		if !slices.Contains(RetryCauses, c) {
			return fmt.Errorf("%.40q is no cause to retry on: there are %s", c, joined(RetryCauses))
		}
	}
	if err := s.checkService(); err != nil {
		return err
	}
	if err := s.checkImage(); err != nil {
		return err
	}
	if err := s.checkNotice(); err != nil {
		return err
	}
	return s.checkElements()
}

// checkImage says what a job in a container can't have. The image itself is for the engine to judge.
func (s Spec) checkImage() error {
	switch {
	case s.Image == "":
		return nil
	case len(s.Image) > MaxImage || hasNUL(s.Image):
		return fmt.Errorf("%.40q is no name of an image", s.Image)
	case s.Conda != "" || s.Venv != "":
		return errors.New("a job in a container has the environment of its image, and no conda environment or venv")
	case s.Ranks > 0:
		return errors.New("a job in a container is one container: have torchrun start the processes in it")
	}
	for _, a := range append(slices.Clone(s.Argv), append(s.Env, s.Workdir)...) {
		if !utf8.ValidString(a) {
			return fmt.Errorf("%.60q is no text in UTF-8: a container gets no other", a)
		}
	}
	return nil
}

func joined(causes []Cause) string {
	words := make([]string, len(causes))
	for i, c := range causes {
		words[i] = string(c)
	}
	return strings.Join(words, ", ")
}

func (s Spec) checkNotice() error {
	n := s.Notice
	switch {
	case n == (Notice{}):
		return nil
	case !signal().MatchString(n.Signal):
		return fmt.Errorf("%q is no signal: say it as USR1@60s", n.Signal)
	case s.Timeout == 0:
		return errors.New("a signal before the time-out needs a time-out")
	case n.Before == 0 || n.Before >= s.Timeout:
		return fmt.Errorf("the signal is to come %s before a time-out of %s: say less", n.Before, s.Timeout)
	}
	return nil
}

func (s Spec) checkElements() error {
	if s.Array != nil {
		if err := s.Array.check(); err != nil {
			return fmt.Errorf("the array can't be: %w", err)
		}
	}
	if s.Sweep == nil {
		return nil
	}
	if err := s.Sweep.check(); err != nil {
		return err
	}
	if s.Array == nil {
		return errors.New("parameters need the array of their elements")
	}
	last := s.Array.Ranges[len(s.Array.Ranges)-1].Last
	if n := s.Sweep.Len(); last >= n {
		return fmt.Errorf("the parameters make %d elements, 0 to %d: there is no %d", n, n-1, last)
	}
	if !s.Shell {
		return nil
	}
	for _, a := range s.Sweep.Axes {
		for i, name := range a.Names {
			if !strings.Contains(s.Argv[0], "{"+name+"}") {
				continue
			}
			for _, row := range a.Rows {
				if !plain().MatchString(row[i]) {
					return fmt.Errorf("the value %q would be read by the shell: write \"$%s\" for {%s}", row[i], env(name), name)
				}
			}
		}
	}
	return nil
}

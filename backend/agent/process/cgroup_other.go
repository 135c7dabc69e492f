//go:build !linux

package process

import (
	"errors"
	"os"
)

// Cgroup does not exist outside Linux; sets are found by tree and mark there.
type Cgroup struct {
	Path string `json:"path"`
	V2   bool   `json:"v2"`
}

// Kinds of process sets, for the kind argument of NewCgroup.
const (
	KindAuto    = "auto"
	KindV2      = "v2"
	KindFreezer = "freezer"
	KindTree    = "tree"
)

// NewCgroup fails: there are no control groups outside Linux.
func NewCgroup(string, string) (*Cgroup, error) {
	return nil, errors.New("there are no control groups on this system")
}

// Start runs start.
func (c *Cgroup) Start(start func() error) error { return start() }

type groups struct{}

func (*groups) make(string, string) (*Cgroup, error) { return NewCgroup("", "") }

func (*Cgroup) spawn(_ *groups, name string, argv []string, attr *os.ProcAttr) (*os.Process, error) {
	return os.StartProcess(name, argv, attr)
}

func (c *Cgroup) pids() ([]int, error)   { return nil, nil }
func (c *Cgroup) kill()                  {}
func (c *Cgroup) used() (float64, int64) { return 0, 0 }

// Remove does nothing.
func (c *Cgroup) Remove() error { return nil }

// BecomeSubreaper fails: a process that detaches twice is found by its mark only.
func BecomeSubreaper() error { return errors.New("there is no subreaper on this system") }

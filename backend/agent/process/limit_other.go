//go:build !linux

package process

import (
	"errors"
	"os"
	"runtime"
)

// CanLimit fails: there are no control groups outside Linux.
func CanLimit(string, Limit) error { return errors.New("there are no control groups on this system") }

// Machine is how much there is here: memory in bytes, 0 where that isn't known, and processors.
func Machine() (memory int64, cpus int) { return 0, runtime.NumCPU() }

// StepAside does nothing.
func StepAside(string) error { return nil }

// HandOver fails: there are no control groups outside Linux.
func HandOver(uint32) error { return CanLimit("", Limit{}) }

func (*groups) limit(_ string, l Limit) *Limited {
	return &Limited{Limit: l, Why: CanLimit("", l).Error()}
}

func (*Limited) start(start func() (*os.Process, error)) (*os.Process, error) { return start() }

func (*Limited) pids() []int { return nil }

// Killed is how many processes were killed for want of memory.
func (*Limited) Killed() int { return 0 }

func (*Limited) peak() int64 { return 0 }

// Remove does nothing.
func (*Limited) Remove() error { return nil }

func (c *Cgroup) killed() int { return 0 }

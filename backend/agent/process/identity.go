package process

import "berth/gpu/procs/proc"

// What package proc knows of a process, under the names that the agent's packages use.
type Identity = proc.Identity

// ErrGone is returned where the process has ended.
var ErrGone = proc.ErrGone

// Functions of package proc.
var (
	Identify  = proc.Identify
	Self      = proc.Self
	BootID    = proc.BootID
	CommandOf = proc.CommandOf
	Holders   = proc.Holders
)

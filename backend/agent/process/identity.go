package process

import "berth/gpu/procs/proc"

// What package proc knows of a process, under the names that the agent's packages use.
type Identity = proc.Identity

// ErrGone is returned where the process has ended.
var ErrGone = proc.ErrGone

// The answers of Identity.Look.
const (
	Unknown = proc.Unknown
	Same    = proc.Same
	Gone    = proc.Gone
)

// ErrUnknown is returned where it can't be told whether the process has ended.
var ErrUnknown = proc.ErrUnknown

// Functions of package proc.
var (
	Identify  = proc.Identify
	ReadStat  = proc.ReadStat
	Self      = proc.Self
	BootID    = proc.BootID
	CommandOf = proc.CommandOf
	Holders   = proc.Holders
)

package backend

import (
	"context"
	"net"
	"time"

	"berth/backend/api"
)

// Prober looks at a machine over its SSH line. The workspace gives it to backends whose machines have
// no provider to ask (Env.Remote).
type Prober interface {
	// Probe connects to t, or uses the connection that is up, and returns what the host says of
	// itself. Questions go to the caller of ctx. Errors are *api.Error with CodeUnreachable,
	// CodeAuth, CodeRefused or CodeNoAnswer.
	Probe(ctx context.Context, t SSHTarget) (HostFacts, error)
	// Reach connects to t, or makes the host answer on the connection that is up. It is cheaper than
	// Probe: one round trip on a warm line.
	Reach(ctx context.Context, t SSHTarget) error
	// Dial connects to a network address ("tcp", "host:port") or a unix socket ("unix", path) as seen
	// from t. The connection to t is kept as long as what was dialled is open.
	Dial(ctx context.Context, t SSHTarget, network, address string) (net.Conn, error)
}

// AgentProgram is a build of the agent on this computer.
type AgentProgram struct {
	Path  string    // the file
	Name  string    // what it is called on a machine
	Args  []string  // what stands before its subcommands
	Hash  string    // SHA-256
	Built time.Time // the time of the file: it counts for development builds
}

// HostFacts is what a host says of itself over SSH. Numbers that it does not say are 0.
type HostFacts struct {
	ID          string    `json:"id"` // user@host:port as resolved, with jump hosts: the same for the same way in
	User        string    `json:"user"`
	Address     string    `json:"address"` // HostName as resolved
	Port        int       `json:"port"`
	OS          string    `json:"os"`   // as Go names it
	Arch        string    `json:"arch"` // as Go names it
	System      string    `json:"system"`
	Hostname    string    `json:"hostname"`
	Home        string    `json:"home"`
	Shell       string    `json:"shell"`
	VCPUs       int       `json:"vcpus"`
	MemoryBytes int64     `json:"memory_bytes"`
	DiskBytes   int64     `json:"disk_bytes"` // of the file system that holds Home
	GPUs        []api.GPU `json:"gpus"`
	Share       bool      `json:"share"` // SSHTarget.Share is a folder there
}

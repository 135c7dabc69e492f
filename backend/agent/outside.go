package agent

import (
	"os"
	"syscall"
	"time"

	"berth/backend/agent/part"
	"berth/backend/agent/server"
	"berth/backend/agent/user"
	"berth/backend/api"
)

// Options is what one agent is told when it is started.
type Options = part.Options

// Command is the command line that makes the program exe play a part of the agent.
func Command(exe string, sub ...string) []string { return part.Command(exe, sub...) }

// NewClient returns a client of the agent that listens on socket.
func NewClient(socket string) *api.AgentClient { return server.NewClient(socket) }

// What those who keep an agent (the local backend) may know of it without calling it.

// MemoryBytes is the memory of this host.
func MemoryBytes() int64 { return server.MemoryBytes() }

// UserHome is the home folder of this user.
func UserHome() string { return user.Home() }

// Lives reports whether an agent of the state folder runs.
func Lives(state string) bool {
	r, err := server.ReadRecord(Options{State: state})
	return err == nil && r.Alive()
}

// StartedAt is when the agent of the state folder began, or the zero time.
func StartedAt(state string) time.Time {
	fi, err := os.Stat(Options{State: state}.RecordPath())
	if err != nil {
		return time.Time{}
	}
	return fi.ModTime()
}

// RemakeSocket asks the agent of the state folder to make its socket again.
func RemakeSocket(state string) error {
	r, err := server.ReadRecord(Options{State: state})
	if err != nil {
		return err
	}
	return r.Signal(syscall.SIGUSR1)
}

package run

import (
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"strconv"

	"berth/backend/agent/environ"
)

// Ports of rendezvous: below those that the system gives to who asks for any one, so that none of these is in the way.
const (
	firstPort = 20_000
	ports     = 10_000
	portTries = 500
)

// rendezvous is where the processes of a distributed job find each other, for a job that has GPUs or ranks: a port of
// its own, since the usual one (29500 of torch) can be had by one job only. torchrun takes PET_MASTER_PORT for it.
// What is set already stays.
func (x *run) rendezvous(env []string) []string {
	if len(x.GPUs) == 0 && x.Spec.Ranks == 0 || environ.Lookup(env, "MASTER_PORT") != "" {
		return env
	}
	if x.port == 0 {
		// Another queue of this host has jobs of the same numbers.
		x.port = x.r.freePort(int((int64(x.r.portsFrom) + x.ID.Number) % ports))
	}
	if x.port == 0 {
		return env
	}
	n := strconv.Itoa(x.port)
	env = environ.Merge(env, "MASTER_PORT="+n)
	for k, v := range map[string]string{"MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": n} {
		if environ.Lookup(env, k) == "" {
			env = environ.Merge(env, k+"="+v)
		}
	}
	return env
}

// portsOf is where a queue with a state folder begins to look for free ports.
func portsOf(state string) uint32 {
	h := fnv.New32a()
	_, _ = fmt.Fprint(h, state, os.Getuid())
	return h.Sum32()
}

// freePort takes a port that no other run has, and on which nobody listens; 0: there is none. from is the one that is
// tried first. The run has it until it is over.
func (r *Runner) freePort(from int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range portTries {
		port := firstPort + (from+i)%ports
		if r.ports[port] {
			continue
		}
		l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil { // somebody else's job has it
			continue
		}
		_ = l.Close()
		if r.ports == nil {
			r.ports = map[int]bool{}
		}
		r.ports[port] = true
		return port
	}
	return 0
}

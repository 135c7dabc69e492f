package sshdtest

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// endAgents ends what outlives the server's sessions by design: agents and shims that were put in
// its home, or serve it. A test that could not reach its server any more could not end them either.
func (s *Server) endAgents() {
	deadline := time.Now().Add(2 * time.Minute)
	for {
		left := agentsOf(s.Home)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Errorf("agents of %s do not end: %v", s.Home, left)
			return
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// agentsOf lists the processes whose program lies in a home or that have it as their --home.
func agentsOf(home string) (out []int) {
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, e := range entries {
		exe, err := os.Readlink(filepath.Join(e, "exe"))
		if err != nil {
			continue // a zombie, or somebody else's
		}
		line, _ := os.ReadFile(filepath.Join(e, "cmdline"))
		serves := slices.ContainsFunc(bytes.Split(line, []byte{0}),
			func(arg []byte) bool { return string(arg) == "--home="+home })
		if serves || strings.HasPrefix(exe, home+"/") {
			if pid, err := strconv.Atoi(filepath.Base(e)); err == nil {
				out = append(out, pid)
			}
		}
	}
	return out
}

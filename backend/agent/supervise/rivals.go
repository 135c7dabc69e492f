package supervise

import (
	"os"
	"slices"
	"syscall"

	"berth/gpu/procs/proc"
)

// endRivals ends supervisors of the same folder whose lock was deleted under them, with the folder: they would start
// the agent again and again. Their agents end with them.
func (s *supervisor) endRivals() {
	all, err := proc.All()
	if err != nil {
		s.log.Warn("whether another supervisor lives can't be seen", "err", err)
		return
	}
	deleted := s.dir.path("lock") + " (deleted)"
	for _, st := range all {
		args, err := proc.Args(st.PID)
		if err != nil || st.PID == os.Getpid() {
			continue
		}
		if i := slices.Index(args, "parent"); i < 0 || i+1 >= len(args) || args[i+1] != string(s.dir) {
			continue
		}
		if proc.NewReader("").Opens(st.PID, func(name string) bool { return name == deleted }) {
			s.log.Warn("ending a supervisor whose folder was deleted", "pid", st.PID)
			_ = st.Identity().Signal(syscall.SIGKILL) // gone meanwhile, or another user's
		}
	}
}

package supervise

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"berth/backend/agent/durable"
	"berth/backend/agent/proc"
)

const defaultGrace = 5 * time.Second

// carryOut does what request.json asks for, if anything. It returns true when this supervisor is
// done.
func (s *supervisor) carryOut() (done bool) {
	req, ok, err := s.dir.Request()
	if err != nil {
		s.log.Error("the request can't be read; ending the instance", "err", err)
		req, ok = Request{Action: ActionStop}, true
	}
	if !ok {
		return false
	}
	s.log.Info("ending all processes of the instance", "for", req.Action, "found_by", s.status.Group)
	s.again = nil
	res := Result{Action: req.Action}
	left, err := s.endAll()
	for _, p := range left {
		res.Left = append(res.Left, fmt.Sprintf("%d (%s)", p.PID, proc.CommandOf(p.PID)))
	}
	if err != nil {
		res.Error = fmt.Sprintf("ending the instance's processes: %v", err)
	}
	if len(left) > 0 {
		s.log.Error("some processes could not be ended", "processes", res.Left)
	}
	// Something else may have been asked for meanwhile: the last word counts.
	if again, ok, err := s.dir.Request(); err == nil && ok {
		req = again
	}
	s.log.Info("all processes were ended", "for", req.Action)
	switch req.Action {
	case ActionRestart:
		if err := s.dir.Drop(); err != nil {
			s.log.Error("dropping the request failed", "err", err)
		}
		s.backoff = firstBackoff
		if c, err := s.dir.Config(); err == nil {
			s.conf = c
		}
		s.startAgent(false)
		return false
	case ActionDelete:
		if len(left) == 0 && err == nil {
			if err = s.remove(); err == nil {
				return true // the folder is gone, and the request with it
			}
		}
		if err != nil {
			res.Error = err.Error()
		}
	}
	s.close(res)
	return true
}

// endAll ends every process of the instance but this one.
func (s *supervisor) endAll() ([]proc.Identity, error) {
	grace := time.Duration(s.conf.Grace * float64(time.Second))
	if grace <= 0 {
		grace = defaultGrace
	}
	set := s.status.Set(s.conf.ID)
	set.Root = os.Getpid()
	left, err := set.End(context.Background(), grace, s.reapAll)
	s.reapAll()
	s.agents, s.current = map[int]bool{}, 0
	return left, err
}

func (s *supervisor) reapAll() {
	s.current = 0 // no agent is started again
	s.reap()
	s.again = nil
}

// close notes how it went and that nobody supervises any more. The request goes last: while it is
// there, what is seen is that the instance is being ended.
func (s *supervisor) close(res Result) {
	res.At = time.Now().UTC()
	if err := durable.Write(s.dir.path("result.json"), res); err != nil {
		s.log.Error("noting the result failed", "err", err)
	}
	if err := s.status.Cgroup.Remove(); err != nil {
		s.log.Warn("the control group can't be removed", "err", err)
	}
	if err := os.Remove(s.dir.path("supervisor.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Error("removing the supervisor's record failed", "err", err)
	}
	if err := s.dir.Drop(); err != nil {
		s.log.Error("dropping the request failed", "err", err)
	}
}

// remove removes the instance's folder and then this one.
func (s *supervisor) remove() error {
	s.log.Info("removing the instance's files", "folder", s.conf.Data)
	if err := RemoveInstance(s.conf.Data, s.conf.ID); err != nil {
		s.log.Error("removing the instance's files failed", "err", err)
		return err
	}
	if err := s.status.Cgroup.Remove(); err != nil {
		s.log.Warn("the control group can't be removed", "err", err)
	}
	// Under another name first: an instance of the same id may be made as soon as this one is gone.
	gone := string(s.dir) + ".gone"
	if err := os.RemoveAll(gone); err != nil {
		return err
	}
	if err := os.Rename(string(s.dir), gone); err != nil {
		return err
	}
	return os.RemoveAll(gone)
}

package supervise

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"berth/backend/base/atomicfile"
	"berth/gpu/procs/proc"
)

const defaultGrace = 5 * time.Second

// carryOut does what request.json asks for, if anything, and what is asked for meanwhile. It returns
// true when this supervisor is done.
func (s *supervisor) carryOut() (done bool) {
	for {
		req, ok, err := s.dir.Request()
		if err != nil {
			s.log.Error("the request can't be read; ending the instance", "err", err)
			req, ok = Request{Action: ActionStop}, true
		}
		if !ok {
			return false
		}
		again := false
		if done, again = s.carryOutOne(req); !again {
			return done
		}
	}
}

func (s *supervisor) carryOutOne(req Request) (done, again bool) {
	s.log.Info("ending all processes of the instance", "for", req.Action, "found_by", s.status.Group)
	res := Result{Action: req.Action}
	left, err := s.endAll()
	for _, p := range left {
		res.Left = append(res.Left, fmt.Sprintf("%d (%s)", p.PID, proc.CommandOf(p.PID)))
	}
	switch {
	case err != nil:
		res.Error = fmt.Sprintf("ending the instance's processes: %v", err)
		s.log.Error("ending the instance's processes failed", "err", err)
	case len(left) > 0:
		s.log.Error("some processes could not be ended", "processes", res.Left)
	default:
		s.log.Info("all processes were ended", "for", req.Action)
	}
	ended := len(left) == 0 && err == nil
	switch {
	case req.Action == ActionRestart:
		if again, err = s.dir.settle(req, s.dir.drop); err != nil {
			s.log.Error("dropping the request failed", "err", err)
		}
		if again {
			return false, true
		}
		s.backoff = firstBackoff
		if c, err := s.dir.Config(); err == nil {
			s.conf = c
		}
		s.startAgent(false)
		return false, false
	case req.Action == ActionDelete && ended:
		if err := s.remove(); err != nil {
			s.log.Error("removing the instance's files failed", "err", err)
			res.Error = err.Error()
			break
		}
		if again, err = s.dir.settle(req, s.vanish); err != nil {
			s.log.Error("removing the supervisor's folder failed", "err", err)
		}
		return true, again
	}
	again, err = s.dir.settle(req, func() error { return s.close(res) })
	if err != nil {
		s.log.Error("noting the result failed", "err", err)
	}
	return true, again
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

// close notes how it went, and that nobody supervises any more. The request goes last: while it is
// there, what is seen is that the instance is being ended.
func (s *supervisor) close(res Result) error {
	res.At = time.Now().UTC()
	err := atomicfile.Write(s.dir.path("result.json"), res)
	if cerr := s.status.Cgroup.Remove(); cerr != nil {
		s.log.Warn("the control group can't be removed", "err", cerr)
	}
	if rerr := os.Remove(s.dir.path("supervisor.json")); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return errors.Join(err, s.dir.drop())
}

// remove removes the instance's folder.
func (s *supervisor) remove() error {
	s.log.Info("removing the instance's files", "folder", s.conf.Data)
	return RemoveInstance(s.conf.Data, s.conf.ID)
}

// vanish removes this supervisor's own folder: under another name first, since an instance of the
// same id may be made as soon as this one is gone.
func (s *supervisor) vanish() error {
	if err := s.status.Cgroup.Remove(); err != nil {
		s.log.Warn("the control group can't be removed", "err", err)
	}
	gone := string(s.dir) + ".gone"
	if err := os.RemoveAll(gone); err != nil {
		return err
	}
	if err := os.Rename(string(s.dir), gone); err != nil {
		return err
	}
	return os.RemoveAll(gone)
}

package queue

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// Service is what is kept up: it is run again whenever it ends, until somebody cancels it. It takes no slot, and a GPU
// only where it asks for one.
type Service struct {
	Port   int    `json:"port"`            // of TCP, on which it listens on the instance
	Health string `json:"health,omitzero"` // path that is asked whether it is well, by HTTP; "": that it listens is enough
}

const (
	// AlwaysAgain is the number of retries of a service.
	AlwaysAgain = math.MaxInt32
	// ServiceWell is after how long a service was up well: the pause before it is started again begins from below then.
	ServiceWell = 10 * time.Minute
)

// serviceCauses are those for which a service is run again. One that could never be run is not: see Spec.Check.
var serviceCauses = []Cause{ByExit, BySignal, ByOOM, ByXID, ByGPULoss, ByLoss, ByStart}

// Retrying is how often a job is run again by itself, and for which causes.
func (s Spec) Retrying() (times int, causes []Cause) {
	switch {
	case s.Service != nil:
		return AlwaysAgain, serviceCauses
	case len(s.RetryOn) == 0:
		return s.Retries, UsualRetries
	}
	return s.Retries, s.RetryOn
}

// checkService says what is wrong with a spec of a service.
func (s Spec) checkService() error {
	if s.Service == nil {
		if s.Request.Slots < 0 {
			return errors.New("a job can't take less than nothing")
		}
		return nil
	}
	never := func(flag string) error {
		return fmt.Errorf("a service is kept up until it is cancelled: it has no %s", flag)
	}
	switch p := s.Service; {
	case p.Port < 1 || p.Port > math.MaxUint16:
		return fmt.Errorf("%d is no port of TCP: it is from 1 to %d", p.Port, math.MaxUint16)
	case p.Health != "" && !validPath(p.Health):
		return fmt.Errorf("%.60q is no path to ask for health: it begins with /", p.Health)
	case s.Request.Slots != -1:
		return errors.New("a service takes no slot")
	case s.Array != nil || s.Sweep != nil:
		return never("elements")
	case s.Timeout > 0:
		return never("time-out")
	case s.Retries > 0 || len(s.RetryOn) > 0:
		return never("number of retries")
	case s.Request.Exclusive:
		return errors.New("a service can't have the instance for itself: no job would ever run")
	case len(s.Notify) > 0:
		return never("end that somebody is told of")
	}
	return nil
}

// validPath reports whether s can stand in the first line of a request.
func validPath(s string) bool {
	return len(s) <= 1000 && s[0] == '/' && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

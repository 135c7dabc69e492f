package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"berth/backend/api"
	"berth/backend/base/atomicfile"
	"berth/queue"
	"berth/queue/plan"
)

// limitsName is the file beside the journal that keeps what was set of a queue: a journal that is made anew leaves it.
const limitsName = "limits.json"

// limitsVersion is that of the file's format.
const limitsVersion = 1

// keptLimits are the contents of the file.
type keptLimits struct {
	Version int            `json:"version"`
	Slots   int            `json:"slots,omitempty"` // 0: not set
	Groups  map[string]int `json:"groups,omitempty"`
	// GPUs is how many a job gets that says nothing of them; nil: one.
	GPUs *int `json:"default_gpus,omitempty"`
	// Engine is where the container engine listens; "": it is looked for.
	Engine string `json:"container_engine,omitempty"`
}

// usualGPUs is how many GPUs a job gets that says nothing of them, where there are any.
func (k keptLimits) usualGPUs() int {
	if k.GPUs == nil {
		return 1
	}
	return *k.GPUs
}

// readLimits reads what was set; where nothing was, that is nothing.
func readLimits(dir string) (k keptLimits, err error) {
	b, err := os.ReadFile(filepath.Join(dir, limitsName))
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err == nil {
		k, err = parseLimits(b)
	}
	if err != nil {
		return keptLimits{}, fmt.Errorf("what was set of the queue can't be read, and is not kept to: %w", err)
	}
	return k, nil
}

// parseLimits reads the file's contents. Its error is what no queue can have.
func parseLimits(b []byte) (k keptLimits, err error) {
	if err = json.Unmarshal(b, &k); err != nil {
		return k, err
	}
	if k.Version != limitsVersion {
		return k, fmt.Errorf("it is of version %d, and this agent knows %d", k.Version, limitsVersion)
	}
	if k.Slots < 0 || k.Slots > api.MostSlots {
		return k, fmt.Errorf("%d slots", k.Slots)
	}
	if n := k.usualGPUs(); n < 0 || n > api.MostSlots {
		return k, fmt.Errorf("%d GPUs for a job", n)
	}
	if err := checkEngine(k.Engine); err != nil {
		return k, err
	}
	for g, n := range k.Groups {
		if n < 0 || n > api.MostSlots || queue.CheckGroup(g) != nil {
			return k, fmt.Errorf("group %.60q has limit %d", g, n)
		}
	}
	return k, nil
}

// with are the limits of the instance with what was set.
func (k keptLimits) with(usual plan.Limits) plan.Limits {
	if k.Slots > 0 {
		usual.Slots = k.Slots
	}
	usual.Groups = k.Groups
	return usual
}

// changed is k with what a request changes of it.
func (k keptLimits) changed(q api.QueueLimitsRequest) (keptLimits, error) {
	k.Version, k.Groups = limitsVersion, maps.Clone(k.Groups)
	if q.Slots != nil {
		if k.Slots = *q.Slots; k.Slots < 0 || k.Slots > api.MostSlots {
			return k, api.Errorf(api.CodeUsage, "a queue has from 1 to %d slots, or 0 for the usual ones", api.MostSlots)
		}
	}
	if q.DefaultGPUs != nil {
		n := *q.DefaultGPUs
		if n < -1 || n > api.MostSlots {
			return k, api.Errorf(api.CodeUsage, "a job that says nothing gets from 0 to %d GPUs", api.MostSlots)
		}
		if k.GPUs = q.DefaultGPUs; n < 0 {
			k.GPUs = nil
		}
	}
	if q.Engine != nil {
		if err := checkEngine(*q.Engine); err != nil {
			return k, usage(err)
		}
		k.Engine = *q.Engine
	}
	for g, n := range q.Groups {
		switch err := queue.CheckGroup(g); {
		case err != nil:
			return k, usage(err)
		case n == nil:
			delete(k.Groups, g)
			continue
		case *n < 0 || *n > api.MostSlots:
			return k, api.Errorf(api.CodeUsage, "the limit of group %s is from 0 to %d jobs at once", g, api.MostSlots)
		}
		if k.Groups == nil {
			k.Groups = map[string]int{}
		}
		k.Groups[g] = *n
	}
	if len(k.Groups) > api.MostGroups {
		return k, api.Errorf(api.CodeUsage, "%d groups would have limits: at most %d can", len(k.Groups), api.MostGroups)
	}
	return k, nil
}

// document are the limits as the API has them.
func (k keptLimits) document(usual plan.Limits) api.QueueLimits {
	now := k.with(usual)
	return api.QueueLimits{Slots: now.Slots, UsualSlots: usual.Slots, Groups: now.Groups, DefaultGPUs: k.usualGPUs(),
		Engine: k.Engine}
}

// checkEngine says what is wrong with where a container engine is said to listen.
func checkEngine(at string) error {
	if at == "" || len(at) < 1000 && !strings.ContainsFunc(at, unicode.IsControl) &&
		(filepath.IsAbs(at) || strings.HasPrefix(at, "unix:///") || strings.HasPrefix(at, "tcp://")) {
		return nil
	}
	return fmt.Errorf("%.60q is nowhere that a container engine listens: say the path of its socket", at)
}

// setLimits changes what the queue keeps to. It is on the disk before it counts.
func (l *loop) setLimits(ctx context.Context, dir string, usual plan.Limits, q api.QueueLimitsRequest) (api.QueueLimits,
	error) {
	var now keptLimits
	_, err := l.do(ctx, &ask{inputs: func(context.Context) ([]plan.Input, error) {
		was, err := readLimits(dir)
		if err != nil { // what can't be read is replaced by what is said now
			l.log.Warn("the limits of the queue are set anew", "error", err)
		}
		if now, err = was.changed(q); err != nil {
			return nil, err
		}
		if err := atomicfile.Write(filepath.Join(dir, limitsName), now); err != nil {
			return nil, fmt.Errorf("keeping the limits of the queue: %w", err)
		}
		next := now.with(usual)
		next.GPUs, next.GPUsUnknown, next.Sharing = l.limits.GPUs, l.limits.GPUsUnknown, l.limits.Sharing
		l.limits = next
		return []plan.Input{plan.SetLimits{Limits: l.limits}}, nil
	}})
	return now.document(usual), explain(err)
}

// handleLimits answers what the queue keeps to, and changes it where that is asked for.
func (s *service) handleLimits(w http.ResponseWriter, r *http.Request) {
	var v api.QueueLimits
	k, err := readLimits(s.dir())
	if err == nil {
		v = k.document(usualLimits())
	}
	if r.Method == http.MethodPost {
		var q api.QueueLimitsRequest
		var l *loop
		if err = api.ReadJSON(r, &q); err == nil {
			l, err = s.queue()
		}
		if err == nil {
			s.h.Active()
			v, err = l.setLimits(r.Context(), s.dir(), usualLimits(), q)
		}
	}
	if err != nil {
		api.WriteError(w, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, v)
}

// limitsNow are the limits that a queue begins with.
func (s *service) limitsNow() plan.Limits {
	k, err := readLimits(s.dir())
	if err != nil {
		s.h.Event("jobs", "error", err.Error())
	}
	return k.with(usualLimits())
}

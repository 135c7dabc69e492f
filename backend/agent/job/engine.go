package job

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"berth/assets/packed"
	"berth/backend/agent/container"
	"berth/backend/agent/job/run"
	"berth/backend/api"
	"berth/queue"
	"berth/queue/plan"
)

// engineLimit is how long the program that runs containers may take to say its protocol.
const engineLimit = 20 * time.Second

// mostEngine bounds a request that brings it, in bytes.
const mostEngine = 64 << 20

// handleEngine takes the program that runs containers.
func (s *service) handleEngine(w http.ResponseWriter, r *http.Request) {
	var q api.EngineRequest
	err := json.NewDecoder(io.LimitReader(r.Body, mostEngine)).Decode(&q) // more than other requests may have
	if err != nil {
		err = api.Errorf(api.CodeUsage, "the program that runs containers did not come whole: %w", err)
	} else {
		err = s.takeEngine(r.Context(), q.Program)
	}
	q.Program = nil
	debug.FreeOSMemory() // once: this took more than all the rest does
	if err != nil {
		api.WriteError(w, err)
		return
	}
	api.WriteJSON(w, http.StatusOK, api.EngineAnswer{Protocol: container.Protocol})
}

// takeEngine keeps a compressed program. One that can't be run here, or is of another protocol, is not taken.
func (s *service) takeEngine(ctx context.Context, program []byte) error {
	if len(program) == 0 {
		return api.Errorf(api.CodeUsage, "there is no program in the request")
	}
	path, err := packed.Unpack(bytes.NewReader(program), s.h.BinDir(), "berth-engine")
	if err != nil {
		return api.Errorf(api.CodeFailed, "keeping the program that runs containers: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, engineLimit)
	defer cancel()
	out, err := exec.CommandContext(limited, path, container.WordVersion).Output()
	if err != nil {
		return api.Errorf(api.CodeFailed, "the program that runs containers can't be run here: %w", err)
	}
	if said := strings.TrimSpace(string(out)); said != strconv.Itoa(container.Protocol) {
		return api.Errorf(api.CodeVersion, "the program that runs containers is of protocol %.20q, and the agent speaks %d", said,
			container.Protocol).WithHint("upgrade the older one of the two: berth version, berth show NAME")
	}
	if err := s.h.KeepEngine(path); err != nil {
		return api.Errorf(api.CodeFailed, "keeping the program that runs containers: %w", err)
	}
	return nil
}

// checkImage says why a job's container can't be run here.
func (s *service) checkImage(ctx context.Context, l *loop, spec *queue.Spec) error {
	if spec.Image == "" {
		return nil
	}
	var gpus []string
	if _, err := l.do(ctx, &ask{look: func(*plan.Planner) {
		for _, g := range l.limits.GPUs {
			gpus = append(gpus, g.UUID)
		}
	}}); err != nil {
		return explain(err)
	}
	return run.CheckImage(ctx, s.h, spec, s.engineHost(), gpus)
}

// engineHost is where the container engine listens, as it was set; "": it is looked for.
func (s *service) engineHost() string {
	k, err := readLimits(s.dir())
	if err != nil {
		return "" // who reads the limits says it
	}
	return k.Engine
}

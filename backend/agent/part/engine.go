package part

import (
	"fmt"
	"path/filepath"
	"strings"

	"berth/backend/agent/container"
	"berth/backend/api"
	"berth/backend/base/atomicfile"
)

// EngineProgram is where the program is that speaks to a container engine. It is put on an instance when the first job
// needs it: the small agent does not carry it.
type EngineProgram struct {
	Version  int    `json:"version"` // of this record
	Path     string `json:"path"`
	Protocol int    `json:"protocol"`
}

const engineVersion = 1

func (h *Host) enginePath() string { return filepath.Join(h.State, "engine.json") }

// KeepEngine notes where the program is.
func (h *Host) KeepEngine(path string) error {
	return atomicfile.Write(h.enginePath(), EngineProgram{Version: engineVersion, Path: path,
		Protocol: container.Protocol})
}

// EngineCommand is the command line of the program that speaks to a container engine: any binary of Berth but the small
// agent plays it itself. Its error is of CodeNoEngine where it is to be put here first.
func (h *Host) EngineCommand(args ...string) ([]string, error) {
	if !strings.HasPrefix(filepath.Base(h.Exe), "berth-agent") {
		return Command(h.Exe, append([]string{"engine"}, args...)...), nil
	}
	var e EngineProgram
	err := atomicfile.Read(h.enginePath(), &e)
	if err == nil && (e.Version != engineVersion || e.Protocol != container.Protocol) {
		err = fmt.Errorf("what is there is of protocol %d, and this agent speaks %d", e.Protocol, container.Protocol)
	}
	if err != nil {
		return nil, api.Errorf(api.CodeNoEngine, "the program that runs containers is not on this instance: %w", err).
			WithHint("submit the job from the computer that Berth came from: the first job with an image brings it")
	}
	return append([]string{e.Path}, args...), nil
}

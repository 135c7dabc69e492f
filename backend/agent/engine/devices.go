package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"go.yaml.in/yaml/v3"

	job "berth/backend/agent/container"
)

// cdiKind is how NVIDIA's devices are called in specifications of the Container Device Interface.
const cdiKind = "nvidia.com/gpu"

// devices are what a container is to get so that it has its GPUs, by their UUIDs. An index would do harm: it is another
// one to each of the programs on the way. CDI is preferred: what it gives is not lost when systemd reads its
// configuration again. Its error is a problem.
func (e *engine) devices(ctx context.Context, spec job.Spec) ([]container.DeviceRequest, error) {
	if len(spec.GPUs) == 0 {
		return nil, nil
	}
	dirs := spec.Systems
	if !e.podman() {
		info, err := e.Info(ctx, client.InfoOptions{})
		if err != nil {
			return nil, fmt.Errorf("asking the engine for its devices: %w", err)
		}
		known := map[string]bool{}
		for _, d := range info.Info.DiscoveredDevices {
			known[strings.TrimPrefix(d.ID, cdiKind+"=")] = true
		}
		if all(known, spec.GPUs) {
			return byCDI(spec.GPUs), nil
		}
		dirs = info.Info.CDISpecDirs // none: it has no CDI
	} else if len(dirs) == 0 {
		dirs = []string{"/etc/cdi", "/var/run/cdi"}
	}
	if all(cdiDevices(dirs), spec.GPUs) {
		if e.podman() && !e.newer(5, 5) {
			return nil, &problem{message: e.kind + " gives no GPUs through its API", hint: "Podman 5.5 does, and so does Docker"}
		}
		return byCDI(spec.GPUs), nil
	}
	if e.podman() {
		return nil, &problem{message: "Podman can't give the GPU: no specification in " + strings.Join(dirs, ", ") +
			" names " + strings.Join(spec.GPUs, ", "),
			hint: "on the instance: sudo nvidia-ctk cdi generate --device-name-strategy=uuid --output=/etc/cdi/nvidia.yaml"}
	}
	return []container.DeviceRequest{{Driver: "nvidia", DeviceIDs: spec.GPUs,
		Capabilities: [][]string{{"gpu", "utility", "compute"}}}}, nil
}

// byCDI asks for devices by their qualified names.
func byCDI(gpus []string) []container.DeviceRequest {
	ids := make([]string, len(gpus))
	for i, g := range gpus {
		ids[i] = cdiKind + "=" + g
	}
	return []container.DeviceRequest{{Driver: "cdi", DeviceIDs: ids}}
}

func all(known map[string]bool, names []string) bool {
	for _, n := range names {
		if !known[n] {
			return false
		}
	}
	return true
}

// maxCDI bounds a specification, in bytes.
const maxCDI = 4 << 20

// cdiDevices are the GPUs that specifications in folders name. What can't be read is not used by an engine either.
func cdiDevices(dirs []string) map[string]bool {
	known := map[string]bool{}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if fi, err := os.Stat(path); err != nil || !fi.Mode().IsRegular() || fi.Size() > maxCDI {
				continue
			}
			switch filepath.Ext(path) {
			case ".yaml", ".yml", ".json":
				if b, err := os.ReadFile(path); err == nil {
					for _, n := range parseCDI(b) {
						known[n] = true
					}
				}
			}
		}
	}
	return known
}

// parseCDI is which GPUs a specification names, in YAML or JSON.
func parseCDI(b []byte) (names []string) {
	var s struct {
		Kind    string `yaml:"kind"`
		Devices []struct {
			Name string `yaml:"name"`
		} `yaml:"devices"`
	}
	if yaml.Unmarshal(b, &s) != nil || s.Kind != cdiKind {
		return nil
	}
	for _, d := range s.Devices {
		names = append(names, d.Name)
	}
	return names
}

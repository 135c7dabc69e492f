//go:build !front && embedagents

package main

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"berth/assets"
	"berth/backend/agent"
	"berth/backend/api"
)

// playEngine becomes the program that speaks to a container engine, which a release build carries. It is unpacked once,
// beside this program: an agent runs from a folder that is named by its content.
func (a *app) playEngine(args []string, _ agent.Stdio) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	path := filepath.Join(filepath.Dir(self), runtime.GOOS+"-"+runtime.GOARCH, "berth-engine")
	if _, err := os.Stat(path); err != nil {
		carried, ok := assets.Engine(runtime.GOOS, runtime.GOARCH)
		if !ok {
			return 0, api.Errorf(api.CodeUnsupported, "this build runs no containers on %s/%s", runtime.GOOS, runtime.GOARCH)
		}
		if err := unpack(carried, path); err != nil {
			return 0, api.Errorf(api.CodeFailed, "unpacking the program that runs containers: %w", err)
		}
	}
	return 0, syscall.Exec(path, append([]string{path}, args...), os.Environ())
}

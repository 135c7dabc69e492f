//go:build !front && embedagents

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"berth/assets"
	"berth/assets/packed"
	"berth/backend/agent"
	"berth/backend/api"
)

// playEngine becomes the program that speaks to a container engine, which a release build carries: it is unpacked once.
func (a *app) playEngine(args []string, _ agent.Stdio) (int, error) {
	carried, ok := assets.Engine(runtime.GOOS, runtime.GOARCH)
	if !ok {
		return 0, api.Errorf(api.CodeUnsupported, "this build runs no containers on %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	self, err := a.home.Program("berth")
	if err != nil {
		return 0, err
	}
	// Beside the copy of this program: its folder is named by its content.
	bin := filepath.Join(filepath.Dir(self), "engine")
	path, err := packed.Unpack(bytes.NewReader(carried), bin, "berth-engine")
	if err != nil {
		return 0, err
	}
	return 0, syscall.Exec(path, append([]string{path}, args...), os.Environ())
}

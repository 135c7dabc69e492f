package main

import (
	"os"
	"strings"
	"syscall"
)

// faultHook returns the function that kills this process at a fault point, for tests: spec is
// "POINT" or "POINT FILE"; with a file the process is killed only the first time, when the file does
// not exist yet. An empty spec gives nil.
func faultHook(spec string) func(string) {
	if spec == "" {
		return nil
	}
	at, once, _ := strings.Cut(spec, " ")
	return func(point string) {
		if point != at {
			return
		}
		if once != "" {
			f, err := os.OpenFile(once, os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return
			}
			_ = f.Close()
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the transcripts under testdata/script: the command line as its users see it.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			// A short path: sockets and prompts show it.
			home := filepath.Join(e.WorkDir, "berth-home")
			e.Setenv("BERTH_HOME", home)
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("TERM", "dumb")
			e.Defer(func() {
				(&world{t: t, home: home, env: []string{"HOME=" + e.WorkDir}}).end()
			})
			return nil
		},
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
	})
}

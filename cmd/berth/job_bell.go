package main

import (
	"fmt"
	"os"
	"time"

	"berth/backend/api"
	"berth/ui/jobword"
)

// ring tells whoever has waited for a job, on their terminal, that it is done: by the bell, and as a notice of the
// desktop where the terminal has such. Nobody is told who did not wait long.
func (a *app) ring(name string, j *api.Job, since time.Time) {
	if time.Since(since) < jobword.BellAfter || !terminal(a.err) {
		return
	}
	fmt.Fprint(a.err, jobword.Bell(name, j, 0, os.Getenv))
}

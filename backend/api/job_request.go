package api

import (
	"path/filepath"
	"strings"
)

// WithinOwn reports whether the directory of a job with a folder of its own is in that.
func (q *JobRequest) WithinOwn() bool {
	return q.Workdir == "" || !strings.HasPrefix(q.Workdir, "~") && filepath.IsLocal(q.Workdir)
}

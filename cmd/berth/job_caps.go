package main

import "berth/backend/api"

// readCaps reads the limits of a job; cpus says that --cpus was given.
func readCaps(q *api.JobRequest, memory string, cpus bool) error {
	if cpus && q.CPUs < 1 {
		return api.Errorf(api.CodeUsage, "--cpus %d: a job needs at least one", q.CPUs).WithHint("--cpus 4")
	}
	if memory != "" {
		n, err := bytesFlag("--mem", memory, "8GB")
		if err != nil {
			return err
		}
		q.MemoryBytes = n
	}
	if len(q.RetryOn) > 0 && q.Retries == 0 {
		return api.Errorf(api.CodeUsage, "--retry-on says for which causes a job is run again, and not how often").
			WithHint("--retries 3 --retry-on oom")
	}
	return nil
}

// warnOf says what a job does not get.
func (a *app) warnOf(j *api.Job) {
	for _, w := range j.Warnings {
		a.warn(w)
	}
}

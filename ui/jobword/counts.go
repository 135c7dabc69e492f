package jobword

import (
	"strconv"
	"strings"

	"berth/backend/api"
)

// Counts says in a few letters how many jobs run and wait: "3 run 2 wait". It is empty where there are none.
func Counts(n api.JobCounts) string {
	var out []string
	for _, x := range []struct {
		n    int
		word string
	}{{n.Running, "run"}, {n.Waiting, "wait"}} {
		switch {
		case x.n >= 10_000:
			out = append(out, strconv.Itoa(x.n/1000)+"k "+x.word)
		case x.n > 0:
			out = append(out, strconv.Itoa(x.n)+" "+x.word)
		}
	}
	return strings.Join(out, " ")
}

// Of are the jobs of an instance, as far as it is known now: none where it does not run.
func Of(in *api.Instance) api.JobCounts {
	if in.Agent == nil || in.State != api.StateRunning {
		return api.JobCounts{}
	}
	return in.Agent.Jobs
}

package main

import (
	"github.com/spf13/pflag"

	"berth/backend/api"
)

// serviceFlags are those of a job that is a service.
type serviceFlags struct {
	is     bool
	port   int
	health string
}

func (s *serviceFlags) add(f *pflag.FlagSet) {
	f.BoolVar(&s.is, "service", false,
		"keep it up until it is cancelled: it is started again when it ends, and after a restart of the instance; it needs --port")
	f.IntVar(&s.port, "port", 0, "with --service: the port on which it listens; it finds it in PORT, too")
	f.StringVar(&s.health, "health", "", "with --service: path that answers by HTTP while it is well: /health; not said: it listens")
}

// read says in a request what was asked for.
func (s *serviceFlags) read(q *api.JobRequest, f *pflag.FlagSet) error {
	if !s.is {
		for _, name := range []string{"port", "health"} {
			if f.Changed(name) {
				return api.Errorf(api.CodeUsage, "--%s is for a service", name).WithHint("--service --port 8000")
			}
		}
		return nil
	}
	if !f.Changed("port") {
		return api.Errorf(api.CodeUsage, "a service needs the port on which it listens").WithHint("--service --port 8000")
	}
	if f.Changed("health") && s.health == "" {
		return api.Errorf(api.CodeUsage, "--health is empty").WithHint("leave it out, or say the path: --health /health")
	}
	q.Service = &api.JobService{Port: s.port, Health: s.health}
	return nil
}

package jobword

import (
	"strconv"

	"berth/backend/api"
)

// Service says how a service is and where it listens: "ok, port 8000"; "" of what is none.
func Service(j *api.Job) string {
	if j.Service == nil {
		return ""
	}
	s := "port " + strconv.Itoa(j.Service.Port)
	if j.Health != "" {
		s = string(j.Health) + ", " + s
	}
	if j.Reason != "" && j.State == api.JobRunning {
		s += ": " + j.Reason
	}
	return s
}

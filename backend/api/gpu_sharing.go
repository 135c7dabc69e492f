package api

import "fmt"

// GPUSharing is where the agents of several users of a host meet who share its GPUs. The zero value: it has none.
type GPUSharing struct {
	Folder  string `json:"folder,omitempty"`
	State   string `json:"state,omitempty"` // made, by an administrator; found; missing: it is made when it is needed; unusable
	Owner   string `json:"owner,omitempty"` // of a folder that was found
	Problem string `json:"problem,omitempty"`
	Fix     string `json:"fix,omitempty"` // what an administrator can do
}

// The states of a folder.
const (
	SharingMade     = "made"
	SharingFound    = "found"
	SharingMissing  = "missing"
	SharingUnusable = "unusable"
)

// Check says it to people.
func (s *GPUSharing) Check(area, name string) Check {
	c := Check{Area: area, Name: name, Status: "ok", Fix: s.Fix}
	switch s.State {
	case SharingUnusable:
		c.Status = "warn"
		c.Message = "users of this host can't share its GPUs: " + s.Problem +
			"; jobs don't see what those of others wait for, or have without using it yet"
		return c
	case SharingFound:
		c.Status = "info"
		c.Message = fmt.Sprintf("users share its GPUs through %s, which %s made", s.Folder, s.Owner)
	case SharingMissing:
		c.Status = "info"
		c.Message = fmt.Sprintf("users share its GPUs through %s, which the first job with a GPU makes", s.Folder)
	default:
		c.Message = "users share its GPUs through " + s.Folder
	}
	c.Message += "; that is advice: a program that asks nobody can use any GPU"
	return c
}

package boot

import (
	"berth/backend/agent/part"
	"berth/backend/api"
)

// New makes the part of the agent that says how it comes back after a reboot.
func New(h *part.Host) part.Part {
	return part.Part{
		Name: "return after a reboot",
		Info: func(i *api.AgentInfo) { i.AfterReboot = AfterReboot(h.Options) },
	}
}

package agent

import (
	"berth/backend/agent/boot"
	"berth/backend/agent/copy"
	"berth/backend/agent/exec"
	"berth/backend/agent/figures"
	"berth/backend/agent/inventory"
	"berth/backend/agent/job"
	"berth/backend/agent/part"
	"berth/backend/agent/ports"
	"berth/backend/agent/server"
	"berth/backend/agent/setup"
	"berth/backend/agent/system"
	"berth/backend/agent/terminal"
	"berth/backend/api"
)

// parts are what an agent can do, in the order in which they start. A new feature is a package and a line here.
var parts = []func(*part.Host) part.Part{
	exec.New,
	copy.New,
	ports.New,
	job.New,
	terminal.New,
	setup.New,
	inventory.New,
	figures.New,
	system.New,
	boot.New,
}

// Routes lists what an agent serves, for its description.
func Routes() []api.Route { return server.Routes(parts) }

package ui

import (
	"berth/ui/adopt"
	"berth/ui/again"
	"berth/ui/attention"
	"berth/ui/console"
	"berth/ui/create"
	"berth/ui/detail"
	"berth/ui/events"
	"berth/ui/fleet"
	"berth/ui/help"
	"berth/ui/inventory"
	"berth/ui/job"
	"berth/ui/ports"
	"berth/ui/queue"
	"berth/ui/screen"
	"berth/ui/snapshots"
	"berth/ui/top"
	"berth/ui/wall"
)

// makers are the screens, by the name with which screen.Open asks for them.
var makers = map[string]screen.Maker{
	"fleet":     fleet.New,
	"detail":    detail.New,
	"console":   console.New,
	"create":    create.New,
	"adopt":     adopt.New,
	"again":     again.New,
	"events":    events.New,
	"help":      help.New,
	"inventory": inventory.New,
	"job":       job.New,
	"ports":     ports.New,
	"queue":     queue.New,
	"snapshots": snapshots.New,
	"top":       top.New,
	"wall":      wall.New,
	"attention": attention.New,
}

package action

import (
	"fmt"
	"slices"
	"strings"

	"berth/backend/api"
	"berth/backend/base/shellquote"
	"berth/ui/data"
	"berth/ui/screen"
)

// The verbs, as the command line names them.
const (
	Start   = "start"
	Stop    = "stop"
	Restart = "restart"
	Delete  = "rm"
	Shell   = "ssh"
	Console = "console"
	// Setup goes on with a set-up that failed, LetGo does without it; Snapshot keeps the disk as it is now.
	Setup    = "setup"
	LetGo    = "let-go"
	Snapshot = "snapshot"
	// Clone makes another instance with a copy of the disk, Image an image of it.
	Clone = "clone"
	Image = "image build"
	// Queue looks at the jobs of an instance, Job tells them something.
	Queue = "job ls"
	// Ports looks at what listens on an instance, and forwards it.
	Ports = "forward"
	Job   = "job"
)

// ReadOnly is why nothing can be changed while the dashboard is read-only.
const ReadOnly = "read-only: nothing is changed from here (L switches it off)"

// needs names the features of an instance's agent that verbs can't do without.
var needs = map[string]api.Feature{}

// rights are the actions that one must be allowed to do for verbs.
var rights = map[string]api.Action{Start: api.ActionStart, Stop: api.ActionStop, Restart: api.ActionRestart,
	Delete: api.ActionDelete, Shell: api.ActionAccess, Console: api.ActionAccess, Setup: api.ActionAccess,
	LetGo: api.ActionAccess,
	Queue: api.ActionAccess, Ports: api.ActionAccess,
	Job: api.ActionAccess, Clone: api.ActionAccess, Image: api.ActionAccess,
	Snapshot: api.ActionWrite, Restore: api.ActionAccess, DropSnapshot: api.ActionWrite}

// denied says why the one who looks may not do a verb to an instance, or "".
func denied(r *data.Row, verb string) string {
	right, ok := rights[verb]
	switch {
	case !ok || !slices.Contains(r.Denied, right):
		return ""
	case right == api.ActionAccess && r.AssignedTo != "":
		return r.Name + " is assigned to " + r.AssignedTo + ": it is for them alone"
	case right == api.ActionAccess && r.Owner == api.OwnerUnknown:
		return "nobody is known to own " + r.Name + "; if it is yours: berth set " + shellquote.Word(r.Name) + " owner=me"
	case right == api.ActionAccess:
		return r.Name + " belongs to " + r.Owner + ": it is for them alone"
	}
	return "you may not do that to " + r.Name
}

// Toggle is the verb that s does to an instance: start what stands, stop what runs.
func Toggle(r *data.Row) string {
	switch r.State {
	case api.StateStopped, api.StateStopping, api.StateUnusable:
		return Start
	}
	return Stop
}

// Why returns why a verb can't be done to an instance now, or "".
func Why(e *screen.Env, r *data.Row, verb string) string {
	if r == nil {
		return "there is no instance here"
	}
	changes := verb != Shell && verb != Console && verb != Queue && verb != Ports
	if e.ReadOnly && changes {
		return ReadOnly
	}
	if f, ok := needs[verb]; ok && r.Agent != nil && r.Agent.State == "ready" {
		if w := f.Lacks("the agent of "+r.Name, r.Agent.Capability, r.Agent.Version); w != "" {
			return w
		}
	}
	if why := denied(r, verb); why != "" {
		return why
	}
	c := r.Capabilities
	if r.State == api.StateCreateFailed && (verb == Start || verb == Stop || verb == Restart) {
		return r.Name + " was never made: delete it and try again"
	}
	switch verb {
	case Start:
		if !c.Start {
			return missing(c, "start", "it can't be started from here")
		}
		switch r.State {
		case api.StateRunning, api.StateStarting:
			return r.Name + " is " + Word(r.State) + " already"
		}
	case Stop:
		if !c.Stop {
			return missing(c, "stop", "it can't be stopped from here")
		}
		switch r.State {
		case api.StateStopped, api.StateStopping:
			return r.Name + " is " + Word(r.State) + " already"
		}
	case Restart:
		if !c.Restart {
			return missing(c, "restart", "it can't be restarted from here")
		}
		if r.State == api.StateStopped {
			return r.Name + " is stopped: start it"
		}
	case Delete:
		if !c.Delete && !r.Adopted {
			return missing(c, "delete", "it can't be deleted from here")
		}
	case Shell:
		if !e.CanShell {
			return "there is no terminal to give to a shell"
		}
		if !c.Exec {
			return missing(c, "exec", "no shell can be opened on it")
		}
		switch r.State {
		case api.StateStopped:
			if c.Start {
				return r.Name + " is stopped: start it with s"
			}
			return r.Name + " is stopped"
		case api.StateDeleting, api.StateCreateFailed:
			return r.Name + " is " + Word(r.State)
		}
	case Clone:
		switch {
		case !c.Clone || r.Adopted:
			return missing(c, "clone", "its backend can't copy disks")
		case r.State != api.StateStopped:
			return r.Name + " is " + Word(r.State) + ": its disk can be copied whole only while it is stopped (s stops it)"
		}
	case Image:
		switch {
		case !c.Build:
			return missing(c, "build", "its backend can't make images")
		case e.BuildImage == nil:
			return "no images can be made from here"
		case r.State != api.StateStopped && r.State != api.StateRunning:
			return r.Name + " is " + Word(r.State) + ": an image is made of one that is running or stopped"
		}
	case Setup, LetGo:
		if r.State != api.StateSetupFailed {
			return "no set-up of " + r.Name + " has failed"
		}
	case Snapshot, Restore, DropSnapshot:
		if w := NoSnapshots(r); w != "" {
			return w
		}
	case Console:
		if !c.Console {
			return missing(c, "console", "its backend keeps no console output")
		}
	}
	if changes && r.State == api.StateDeleting {
		if r.Adopted {
			return r.Name + " is being forgotten"
		}
		return r.Name + " is being deleted"
	}
	return ""
}

func missing(c api.Capabilities, name, otherwise string) string {
	if w := c.Why[name]; w != "" {
		return w
	}
	return otherwise
}

// Word is a state for people.
func Word(s api.State) string { return strings.ReplaceAll(string(s), "_", " ") }

// onlyForgets reports whether rm of these instances deletes none: all were adopted.
func onlyForgets(rows []*data.Row) bool {
	return !slices.ContainsFunc(rows, func(r *data.Row) bool { return !r.Adopted })
}

// doing is a verb under way on instances, for people.
func doing(verb string, rows []*data.Row) string {
	switch verb {
	case Start:
		return "starting"
	case Stop:
		return "stopping"
	case Restart:
		return "restarting"
	case Delete:
		if onlyForgets(rows) {
			return "forgetting"
		}
		return "deleting"
	case Setup:
		return "going on with the set-up of"
	case LetGo:
		return "letting go of the set-up of"
	case Snapshot:
		return "taking a snapshot of"
	case Clone:
		return "cloning"
	case Image:
		return "making an image of"
	}
	return verb
}

// action is the verb's name in the service.
func action(verb string) string {
	if verb == Delete {
		return "delete"
	}
	return verb
}

// Command is the command line that does a verb to instances.
func Command(e *screen.Env, verb string, rows []*data.Row) string {
	s := "berth " + verb
	for _, r := range rows {
		s += " " + shellquote.Word(e.Store.Ref(r))
	}
	switch verb {
	case Console:
		return "berth show " + strings.TrimPrefix(s, "berth console ") + " --console"
	case Setup:
		return s + " --resume"
	case LetGo:
		return "berth setup " + strings.TrimPrefix(s, "berth let-go ") + " --forget"
	case Clone:
		return s + " NEW"
	case Image:
		return "berth image build IMAGE --from" + strings.TrimPrefix(s, "berth image build")
	}
	return s
}

// be is the verb behind names.
func be(rows []*data.Row) string {
	if len(rows) == 1 {
		return " is"
	}
	return " are"
}

// names lists a few names.
func names(rows []*data.Row) string {
	if len(rows) == 1 {
		return rows[0].Name
	}
	return fmt.Sprintf("%d instances", len(rows))
}

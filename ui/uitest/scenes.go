package uitest

import (
	"time"

	"berth/backend/api"
	"berth/ui"
)

// Scene is one state of the dashboard that is worth a picture and a golden file.
type Scene struct {
	Name string
	Open func(o Options) *Driver
}

// before says how many minutes ago, at Epoch, an event was.
func before(minutes int, kind, level, id, name, actor, message string) api.Event {
	at := Epoch.Add(-time.Duration(minutes) * time.Minute)
	return api.Event{Time: at, Kind: kind, Level: level, InstanceID: id, Instance: name, Actor: actor, Message: message}
}

// past is what the store of the small fleet has from before.
var past = []api.Event{
	before(400, "operation.done", "info", "i-0001", "train-1", "ada", "create: done in 2m31s"),
	before(180, "instance.state", "info", "i-0001", "train-1", "", "is now running"),
	before(60, "agent.ready", "info", "i-0006", "scratch", "", "the agent is ready (0.1.0, over its unix socket)"),
	before(25, "instance.state", "warn", "i-0008", "old-box", "", "is now unknown: dial tcp 10.0.4.18:22: i/o timeout. "+
		"The state shown is not a guess: it is not known until the machine answers again, which is tried every 30 s"),
}

// small opens the fleet of one instance of each kind, or another one, with what has happened there.
func small(o Options, list ...api.Instance) *Driver {
	if len(list) == 0 {
		list = Small(Epoch)
	}
	o.Past = past
	d := Drive(o, list...)
	d.WS.Emit(before(1, "operation.step", "info", "i-0003", "train-2", "ada", "asking for the start…"))
	d.WS.Emit(before(0, "operation.step", "info", "i-0003", "train-2", "ada", "waiting for the machine…"))
	d.WS.Measure(Epoch)
	d.Settle()
	return d
}

// virtual makes an instance of a fleet a virtual machine, of which snapshots can be taken.
func virtual(list []api.Instance, name string) []api.Instance {
	for i := range list {
		if list[i].Name == name {
			list[i].Backend, list[i].Capabilities.Snapshots = "libvirt", true
		}
	}
	return list
}

// pressed opens a scene on the small fleet and presses keys.
func pressed(keys ...string) func(Options) *Driver {
	return func(o Options) *Driver {
		d := small(o)
		d.Press(keys...)
		d.Pass(200 * time.Millisecond)
		return d
	}
}

// on puts the cursor on an instance first.
func on(name string, keys ...string) func(Options) *Driver {
	return func(o Options) *Driver {
		d := small(o)
		d.To(name)
		d.Press(keys...)
		return d
	}
}

// keeping opens the snapshots of an instance that has these, and presses keys.
func keeping(list []api.Snapshot, keys ...string) func(Options) *Driver {
	return func(o Options) *Driver {
		d := small(o, virtual(Small(Epoch), "notebook")...)
		d.Keep("notebook", list...)
		d.To("notebook")
		d.Press(append([]string{"b"}, keys...)...)
		return d
	}
}

// working gives the notebook a queue, goes there and presses keys.
func working(keys ...string) func(Options) *Driver {
	return func(o Options) *Driver {
		d := small(o)
		d.WS.PutJobs("i-0002", append(Work(Epoch), Serving(Epoch)...)...)
		d.WS.Print("i-0002", "13", WorkLog)
		d.To("notebook")
		d.Press(keys...)
		d.Pass(time.Second)
		return d
	}
}

// listensOn gives the notebook ports, goes there and presses keys.
func listensOn(p api.Ports, keys ...string) func(Options) *Driver {
	return func(o Options) *Driver {
		d := small(o)
		d.WS.PutPorts("i-0002", p)
		d.To("notebook")
		d.Press(append([]string{"P"}, keys...)...)
		d.Settle()
		return d
	}
}

// To moves the cursor of the fleet to an instance.
func (d *Driver) To(name string) {
	defer d.Pass(200 * time.Millisecond) // what follows the cursor has followed
	d.Press("g")
	for range d.E.Store.Len() {
		if r := d.M.Subjects(); len(r) > 0 && r[0].Name == name {
			return
		}
		d.Press("j")
	}
}

// Scenes are the states that pictures are made of, the most important first.
func Scenes() []Scene {
	return []Scene{
		{"fleet", on("notebook")},
		{"detail", on("train-2", "enter")},
		{"create", func(o Options) *Driver {
			d := small(o)
			d.Press("n")
			d.Type("gpu-7")
			d.Pass(time.Second)
			d.Press("tab", "left", "tab")
			d.Pass(time.Second)
			return d
		}},
		{"confirm-delete", func(o Options) *Driver {
			d := on("train-1", "d")(o)
			d.Type("train")
			return d
		}},
		{"top", on("train-1", "f")},
		{"wall", pressed("w")},
		{"attention", pressed("!")},
		{"first", func(o Options) *Driver { return Drive(o) }},
		{"new", func(o Options) *Driver { d := Drive(o); d.Press("n"); return d }},
		{"making", func(o Options) *Driver {
			d := Drive(o)
			d.Press("n", "enter")
			d.WS.Advance("op-1")
			d.Settle()
			d.Pass(2 * time.Second)
			return d
		}},
		{"first-gpus", func(o Options) *Driver { o.LocalGPUs = true; return Drive(o) }},
		{"loading", func(o Options) *Driver { o.Unloaded = true; return Drive(o) }},
		{"many", func(o Options) *Driver { return Drive(o, Many(Epoch, 500)...) }},
		{"filter", func(o Options) *Driver {
			d := small(o)
			d.Press("/")
			d.Type("~tr")
			return d
		}},
		{"marked", pressed(" ", "j", " ", " ", "s")},
		{"delete-many", pressed(" ", " ", "d")},
		{"confirm-stop", on("notebook", "s")},
		{"forget", on("gpu-lab", "d")},
		{"detail-local", on("scratch", "enter")},
		{"detail-failed", on("big-one", "enter")},
		{"detail-adopted", on("gpu-lab", "enter", "G")},
		{"detail-setup", func(o Options) *Driver {
			d := Drive(o, settingUp(Small(Epoch))...)
			d.To("train-1")
			d.Press("enter")
			return d
		}},
		{"adopt", func(o Options) *Driver {
			d := small(o)
			d.Press("a")
			d.Type("ada@gpu-lab.example.org:2222")
			return d
		}},
		{"events", pressed("e", "k", "k", "k")},
		{"console", func(o Options) *Driver {
			d := small(o)
			d.WS.Text = "[    0.000000] Linux version 6.1.0-28-cloud-amd64\n[    0.412345] pci 0000:00:1e.0: [10de:2237] type 00 class 0x030200\n[    1.204511] nvidia: loading out-of-tree module taints kernel.\n[  OK  ] Reached target cloud-init.target\n\nnotebook login: "
			d.To("notebook")
			d.Press("enter", "C")
			return d
		}},
		{"inventory", func(o Options) *Driver {
			d := small(o, WithProfiles(Small(Epoch), "notebook", "nvidia-driver", "cuda=12.6", "pytorch", "nginx")...)
			d.To("notebook")
			d.Press("enter", "i")
			d.Settle()
			d.Press("j", "j", "j", "j")
			return d
		}},
		{"inventory-two", func(o Options) *Driver {
			list := WithProfiles(Small(Epoch), "notebook", "cuda=12.6", "pytorch")
			d := small(o, WithProfiles(list, "train-1", "cuda=12.6", "pytorch")...)
			d.Press(":")
			d.Type("inventory notebook train-1")
			d.Press("enter")
			d.Settle()
			d.Press(".")
			return d
		}},
		{"snapshots", keeping(Kept(), "k", "k")},
		{"snapshots-none", keeping(nil)},
		{"snapshots-can-not", on("scratch", "b")},
		{"snapshots-failed", func(o Options) *Driver {
			d := keeping(Kept(), "a", "enter")(o)
			d.WS.FailOp("op-1", api.Errorf(api.CodeUnsupported,
				"making the snapshot of notebook: it boots by UEFI, whose memory can't be kept while it runs").
				WithHint("stop notebook and try again: of a stopped machine the disk is kept"))
			d.Settle()
			return d
		}},
		{"snapshots-error", func(o Options) *Driver {
			d := small(o, virtual(Small(Epoch), "notebook")...)
			d.Keep("notebook", Kept()...)
			d.WS.SnapshotErr = api.Errorf(api.CodeUnreachable,
				"listing the snapshots of notebook: libvirt on box does not answer").WithHint("berth doctor looks at what is wrong")
			d.To("notebook")
			d.Press("b")
			return d
		}},
		{"snapshot-take", keeping(Kept(), "a")},
		{"snapshot-restore", keeping(Kept(), "enter")},
		{"snapshot-delete", keeping(Kept(), "k", "k", "x")},
		{"confirm-delete-kept", func(o Options) *Driver {
			d := small(o, virtual(Small(Epoch), "notebook")...)
			d.Keep("notebook", Kept()...)
			d.To("notebook")
			d.Press("d")
			return d
		}},
		{"queue", working("Q")},
		{"queue-unfolded", working("Q", "j", "enter")},
		{"queue-marked", working("Q", " ", " ", " ", "x")},
		{"queue-none", on("notebook", "Q")},
		{"queue-stopped", on("archive", "Q")},
		{"queue-older", func(o Options) *Driver {
			d := small(o)
			d.WS.OlderThanJobs("i-0002")
			d.To("notebook")
			d.Press("Q")
			return d
		}},
		{"queue-fleet", func(o Options) *Driver {
			d := working("Q", "v")(o)
			d.WS.PutJobs("i-0001", Work(Epoch)[4:6]...)
			d.Pass(time.Second)
			return d
		}},
		{"queue-commands", working("Q", "c")},
		{"queue-new", func(o Options) *Driver {
			d := working("Q", "esc")(o)
			x := Work(Epoch)[4]
			x.State, x.EndedAt = api.JobSucceeded, d.Now()
			d.WS.PutJobs("i-0002", x)
			d.Press("Q")
			d.Pass(time.Second)
			return d
		}},
		{"again", working("Q", "E")},
		{"ports", func(o Options) *Driver {
			d := listensOn(Listening(), "j", "j", "enter", "j", "j")(o)
			d.Forwards.Taken = map[int]string{8888: "port 8888 of this computer is held by jupyter-lab (process 4711)"}
			d.Press("enter")
			d.Settle()
			d.Forwards.Connect("i-0002", 2, 31, nil)
			d.Pass(20 * time.Second)
			return d
		}},
		{"ports-none", listensOn(api.Ports{})},
		{"ports-one", listensOn(api.Ports{Ports: Listening().Ports[4:5]})},
		{"ports-many", listensOn(ManyPorts(10000), "G")},
		{"ports-stopped", on("archive", "P")},
		{"ports-older", func(o Options) *Driver {
			d := small(o)
			d.WS.PortsErr = api.Errorf(api.CodeVersion, "the agent there is too old for listing its ports").
				WithHint("it is updated the next time that Berth connects to it: berth daemon stop, and run it again")
			d.To("notebook")
			d.Press("P")
			d.Settle()
			return d
		}},
		{"ports-error", func(o Options) *Driver {
			d := small(o)
			d.WS.PortsErr = api.Errorf(api.CodeUnreachable, "the agent of notebook does not answer: i/o timeout").
				WithHint("berth show notebook")
			d.To("notebook")
			d.Press("P")
			d.Settle()
			return d
		}},
		{"ports-bastion", func(o Options) *Driver {
			d := listensOn(Listening(), "j", "j", "j", "j")(o)
			d.Forwards.Bastion = true
			d.Press("o")
			d.Settle()
			return d
		}},
		{"fleet-jobs", func(o Options) *Driver {
			d := small(o)
			JobCounts(d.WS, "i-0002", api.JobCounts{Running: 3, Waiting: 2})
			JobCounts(d.WS, "i-0001", api.JobCounts{Waiting: 12345})
			d.Settle()
			return d
		}},
		{"job", working("Q", "enter")},
		{"job-details", working("Q", "G", "enter", "v")},
		{"top-disk", on("notebook", "f", "tab", "tab")},
		{"top-stale", on("gpu-lab", "f")},
		{"top-stopped", on("archive", "f")},
		{"top-mig", on("scratch", "f", "j", "enter")},
		{"top-gpu", on("train-1", "f", "enter")},
		{"top-lost", on("train-1", "f", "j", "j", "j", "j", "j", "enter")},
		{"top-host", on("notebook", "f", "tab", "enter")},
		{"top-mount", on("notebook", "f", "tab", "tab", "enter")},
		{"top-process", on("train-1", "f", "G", "enter")},
		{"top-tree", on("train-1", "f", "tab", "tab", "tab", "T")},
		{"top-signal", on("train-1", "f", "tab", "tab", "tab", "x")},
		{"top-signal-other", func(o Options) *Driver {
			d := on("train-1", "f", "/")(o)
			d.Type("tensorboard")
			d.Press("enter", "G", "x", "down", "down", "enter")
			return d
		}},
		{"history", on("train-1", "f", "h", "2", "left", "shift+left", "shift+left")},
		{"history-30d", on("notebook", "f", "tab", "tab", "h", "3")},
		{"history-15min", on("train-1", "f", "h", "v")},
		{"attention-mute", pressed("!", "m")},
		{"attention-none", func(o Options) *Driver { d := Drive(o, Small(Epoch)...); d.Press("!"); return d }},
		{"wall-256", func(o Options) *Driver {
			d := Drive(o, Cluster(Epoch, 32, 8)...)
			d.WS.Measure(Epoch)
			d.Settle()
			d.Press("w")
			return d
		}},
		{"help", pressed("?")},
		{"help-page", pressed("?", "tab")},
		{"palette", func(o Options) *Driver {
			d := small(o)
			d.Press(":")
			return d
		}},
		{"palette-names", func(o Options) *Driver {
			d := small(o)
			d.Press(":")
			d.Type("ssh tr")
			return d
		}},
		{"copy", on("notebook", "y")},
		{"commands", on("notebook", "c")},
		{"question", func(o Options) *Driver {
			d := small(o)
			d.Ask(api.Question{ID: "q1", Kind: "confirm", Title: "An unknown host key",
				Text: "gpu-lab.example.org:22 shows a key that has not been seen before:\n\nssh-ed25519 SHA256:uNiVztksCsDhcc0u9e8BrrJQ2nH3sK9wGqVb1yJxMbc\n\nIs this the machine that you mean?"})
			return d
		}},
		{"secret", func(o Options) *Driver {
			d := small(o)
			d.Ask(api.Question{ID: "q2", Kind: "secret", Title: "Passphrase",
				Text: "The key /home/ada/.ssh/id_ed25519 is encrypted."})
			d.Type("hunter2")
			return d
		}},
		{"refused", func(o Options) *Driver {
			d := small(o)
			d.WS.Fail = func(action, name string) error {
				return api.Errorf(api.CodeRefused,
					"stopping %q: its disk is full (12.0 GiB of 12.0 GiB), and with a full disk it could not start again",
					name).WithHint("free some space with berth clean %s, or insist with --force", name)
			}
			d.To("notebook")
			d.Press("s", "y")
			return d
		}},
		{"read-only", on("notebook", "L", "d")},
		{"reconnecting", func(o Options) *Driver {
			d := small(o)
			d.Connect("no answer from Berth's service: connection refused")
			return d
		}},
	}
}

// Ask puts a question of the service to the dashboard; the answer ends in Asked.
func (d *Driver) Ask(q api.Question) {
	d.Send(ui.QuestionMsg(q, func(a api.Answer) { d.Asked = append(d.Asked, a) }))
}

package uitest

import (
	"fmt"
	"time"

	"berth/backend/api"
)

// AllCapabilities is what an instance of a cloud can do.
func AllCapabilities() api.Capabilities {
	return api.Capabilities{Create: true, Start: true, Stop: true, Restart: true, Delete: true, Console: true,
		Exec: true, List: true}
}

// AdoptedCapabilities is what an adopted machine can do.
func AdoptedCapabilities() api.Capabilities {
	const why = "it was adopted: Berth did not start it and can't stop it"
	return api.Capabilities{Adopt: true, Exec: true, Why: map[string]string{"start": why, "stop": why,
		"restart": why, "console": "a machine reached over SSH has no console that Berth could read"}}
}

// Epoch is the time at which the fleets of this package are pictured.
var Epoch = time.Date(2026, 3, 14, 10, 30, 0, 0, time.UTC)

// Small is a fleet with one instance of each kind.
func Small(now time.Time) []api.Instance {
	at := func(d time.Duration) *time.Time { t := now.Add(-d); return &t }
	base := func(i int, name string, st api.State, since time.Duration) api.Instance {
		return api.Instance{Name: name, ID: fmt.Sprintf("i-%04d", i), Backend: "ec2", State: st,
			StateSince: now.Add(-since), Size: "g5.xlarge", Image: "ubuntu-24.04", Region: "eu-central-1",
			Owner: "ada", AssignedTo: "ada", Mine: true, CreatedAt: now.Add(-30 * 24 * time.Hour),
			UpdatedAt: now.Add(-since), ObservedAt: at(20 * time.Second), Address: fmt.Sprintf("10.0.4.%d", 10+i),
			Port: 22, User: "ubuntu",
			GPUs: GPUs(1, "NVIDIA A10G", 24), VCPUs: 4, MemoryBytes: 16 << 30, DiskBytes: 120 << 30,
			PriceUSDPerHour: usd(1.006), RunningUSDPerHour: usd(1.03), StoppedUSDPerHour: usd(0.024), CostTodayUSD: usd(4.12),
			Workdir: "/share/ada", ProviderID: fmt.Sprintf("i-0a1b2c3d4e5f%04d", i), ProviderName: "berth-" + name,
			Tags: map[string]string{"project": "vision"}, Capabilities: AllCapabilities(),
			Agent: &api.AgentStatus{State: "ready", Version: "0.1.0", Transport: "streamlocal",
				AfterReboot: "comes back by itself: a systemd user unit with linger"}}
	}
	train := base(1, "train-1", api.StateRunning, 3*time.Hour)
	train.Size, train.GPUs, train.VCPUs, train.MemoryBytes = "p4d.24xlarge", GPUs(8, "NVIDIA A100", 40), 96, 1152<<30
	train.PriceUSDPerHour, train.RunningUSDPerHour, train.CostTodayUSD = usd(32.77), usd(32.80), usd(98.40)
	notebook := base(2, "notebook", api.StateRunning, 26*time.Hour)
	notebook.IdleSince = at(47 * time.Minute)
	starting := base(3, "train-2", api.StateStarting, 12*time.Second)
	starting.CostTodayUSD = usd(0)
	start := now.Add(-12 * time.Second)
	mid := now.Add(-9 * time.Second)
	starting.Operation = &api.Operation{ID: "op-start", Kind: "start", InstanceID: starting.ID,
		Instance: starting.Name, Actor: "ada", State: api.OpRunning, CreatedAt: start,
		Steps: []api.Step{
			{Name: "provider", Title: "asking for the start", State: api.OpSucceeded, StartedAt: &start, EndedAt: &mid},
			{Name: "machine", Title: "waiting for the machine", State: api.OpRunning, StartedAt: &mid},
			{Name: "agent", Title: "reaching its agent", State: api.OpPending},
			{Name: "onstart", Title: "running its start script", State: api.OpPending}}}
	starting.Agent = &api.AgentStatus{State: "connecting"}
	stopped := base(4, "archive", api.StateStopped, 9*24*time.Hour)
	stopped.Owner, stopped.AssignedTo, stopped.Mine = "grace", "grace", false
	stopped.CostTodayUSD, stopped.Agent = usd(0.25), nil
	failed := base(5, "big-one", api.StateCreateFailed, 8*time.Minute)
	failed.Size, failed.StateReason = "p5.48xlarge", "no capacity in eu-central-1b"
	failed.GPUs, failed.Address = GPUs(8, "NVIDIA H100", 80), ""
	failed.PriceUSDPerHour, failed.RunningUSDPerHour, failed.CostTodayUSD = nil, nil, nil
	failAt := now.Add(-8 * time.Minute)
	failed.Operation = &api.Operation{ID: "op-fail", Kind: "create", InstanceID: failed.ID, Instance: failed.Name,
		Actor: "ada", State: api.OpFailed, CreatedAt: failAt.Add(-14 * time.Second), EndedAt: &failAt,
		Error: &api.Error{Code: api.CodeCapacity,
			Message: "creating \"big-one\" as p5.48xlarge in eu-central-1b: the provider has no capacity (InsufficientInstanceCapacity)", Hint: "try another region with --region, or another size"},
		Steps: []api.Step{
			{Name: "prepare", Title: "preparing the image", State: api.OpSucceeded, StartedAt: &failAt, EndedAt: &failAt},
			{Name: "provider", Title: "asking for the machine", State: api.OpFailed, StartedAt: &failAt},
			{Name: "machine", Title: "waiting for the machine", State: api.OpPending},
			{Name: "agent", Title: "reaching its agent", State: api.OpPending},
			{Name: "setup", Title: "setting up", State: api.OpPending}}}
	failed.Agent = nil
	local := base(6, "scratch", api.StateRunning, 40*time.Minute)
	local.Backend, local.Size, local.Image, local.Region, local.Address, local.Port, local.GPUs = "local", "host",
		"host", "", "", 0, GPUs(2, "NVIDIA RTX A6000", 48)
	local.PriceUSDPerHour, local.RunningUSDPerHour, local.StoppedUSDPerHour, local.CostTodayUSD = usd(0), usd(0),
		usd(0), usd(0)
	local.Workdir, local.ProviderName, local.User = "/home/ada/.local/state/berth/local/scratch", "scratch", "ada"
	local.Notes = []string{"It shares this computer's users, network and devices: nothing isolates it.",
		"After a reboot of this computer it is stopped until you start it."}
	local.Agent = &api.AgentStatus{State: "ready", Version: "0.1.0", Transport: "unix"}
	adopted := base(7, "gpu-lab", api.StateRunning, 12*24*time.Hour)
	adopted.Backend, adopted.Size, adopted.Region, adopted.Image, adopted.Adopted = "ssh", "", "", "", true
	adopted.PriceUSDPerHour, adopted.RunningUSDPerHour, adopted.StoppedUSDPerHour, adopted.CostTodayUSD = nil, nil,
		nil, nil
	adopted.GPUs, adopted.Address, adopted.User, adopted.IdleSince = GPUs(4, "NVIDIA L40S", 48),
		"gpu-lab.example.org", "ada", at(3*time.Hour)
	adopted.Capabilities, adopted.ProviderID, adopted.ProviderName, adopted.Tags = AdoptedCapabilities(), "",
		"gpu-lab", nil
	adopted.Agent = &api.AgentStatus{State: "ready", Version: "0.1.0", Transport: "dial",
		AfterReboot: "will not come back by itself: no systemd user session, no cron"}
	unknown := base(8, "old-box", api.StateUnknown, 25*time.Minute)
	unknown.StateReason, unknown.ObservedAt, unknown.Agent = "dial tcp 10.0.4.18:22: i/o timeout",
		at(25*time.Minute), &api.AgentStatus{State: "unavailable", Reason: "no answer from 10.0.4.18:22 within 10 s"}
	unknown.PriceUSDPerHour, unknown.RunningUSDPerHour, unknown.CostTodayUSD = nil, nil, nil
	return []api.Instance{train, notebook, starting, stopped, failed, local, adopted, unknown}
}

// Many is a fleet of n instances, the same for the same n.
func Many(now time.Time, n int) []api.Instance {
	out := make([]api.Instance, n)
	sizes := []string{"g5.xlarge", "p4d.24xlarge", "m7i.large", "g6.12xlarge"}
	owners := []string{"ada", "grace", "alan", "edsger", "barbara"}
	for i := range out {
		st := api.StateRunning
		switch i % 7 {
		case 1, 2:
			st = api.StateStopped
		case 3:
			if i%49 == 3 {
				st = api.StateStopping
			}
		}
		t := now.Add(-time.Duration(i%5000) * time.Minute)
		o := owners[i%len(owners)]
		out[i] = api.Instance{Name: fmt.Sprintf("node-%05d", i*7919%n), ID: fmt.Sprintf("id-%06d", i), Backend: "ec2",
			State: st, StateSince: t, Size: sizes[i%len(sizes)], Image: "ubuntu-24.04", Region: "eu-central-1",
			Owner: o, AssignedTo: o, Mine: o == "ada", CreatedAt: t, UpdatedAt: t, ObservedAt: &t,
			Address: fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), Port: 22, User: "ubuntu", SSHEnabled: true,
			GPUs: GPUs(i%4, "NVIDIA A10G", 24), VCPUs: 4 + i%60, MemoryBytes: 16 << 30, DiskBytes: 120 << 30,
			PriceUSDPerHour: usd(1.006), RunningUSDPerHour: usd(1.03), StoppedUSDPerHour: usd(0.02),
			CostTodayUSD: usd(float64(i%100) / 10),
			Workdir:      "/share/" + o, ProviderID: fmt.Sprintf("i-0a1b2c3d4e5f%06d", i),
			ProviderName: fmt.Sprintf("berth-node-%05d", i), Tags: map[string]string{"project": "vision"},
			Capabilities: AllCapabilities(), Agent: &api.AgentStatus{State: "ready", Version: "0.1.0",
				Transport: "streamlocal"}}
	}
	return out
}

// settingUp lets train-1 be in the middle of its set-up.
func settingUp(list []api.Instance) []api.Instance {
	for i := range list {
		in := &list[i]
		if in.Name != "train-1" {
			continue
		}
		at := func(d time.Duration) *time.Time { t := Epoch.Add(-d); return &t }
		in.State, in.StateSince, in.Profiles = api.StateSettingUp, *at(4 * time.Minute), nil
		in.Operation = &api.Operation{ID: "op-setup", Kind: "create", InstanceID: in.ID, Instance: in.Name,
			Actor: "ada", State: api.OpRunning, CreatedAt: *at(6 * time.Minute), Steps: []api.Step{
				{Name: "prepare", Title: "preparing the image", State: api.OpSucceeded, StartedAt: at(6 * time.Minute),
					EndedAt: at(5 * time.Minute)},
				{Name: "provider", Title: "asking for the machine", State: api.OpSucceeded, StartedAt: at(5 * time.Minute),
					EndedAt: at(5*time.Minute - time.Second)},
				{Name: "machine", Title: "waiting for the machine", State: api.OpSucceeded,
					StartedAt: at(5*time.Minute - time.Second), EndedAt: at(5*time.Minute - 10*time.Second)},
				{Name: "agent", Title: "reaching its agent", State: api.OpSucceeded,
					StartedAt: at(5*time.Minute - 10*time.Second), EndedAt: at(4 * time.Minute)},
				{Name: "setup", Title: "setting up", State: api.OpRunning, StartedAt: at(4 * time.Minute), Parts: []api.StepPart{
					{Name: "base.packages", Title: "Base tools", State: api.OpSucceeded, StartedAt: at(4 * time.Minute),
						EndedAt: at(3 * time.Minute)},
					{Name: "driver", Title: "NVIDIA driver 570", State: api.OpSucceeded, StartedAt: at(3 * time.Minute),
						EndedAt: at(95 * time.Second)},
					{Name: "cuda.toolkit", Title: "CUDA toolkit 12.6", State: api.OpRunning, StartedAt: at(95 * time.Second)},
					{Name: "pytorch.env", Title: "PyTorch environment", State: api.OpPending},
				}},
			}}
	}
	return list
}

// Cluster is a fleet of n running instances with so many GPUs each.
func Cluster(now time.Time, n, gpus int) []api.Instance {
	out := Many(now, n)
	for i := range out {
		in := &out[i]
		in.Name, in.State, in.StateSince = fmt.Sprintf("h100-%02d", i+1), api.StateRunning, now.Add(-9*time.Hour)
		in.GPUs, in.VCPUs, in.MemoryBytes, in.User = GPUs(gpus, "NVIDIA H100", 80), 96, 1<<40, "ada"
		in.RunningUSDPerHour = usd(55.04)
	}
	return out
}

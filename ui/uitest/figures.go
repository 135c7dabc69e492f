package uitest

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"

	"berth/backend/api"
	"berth/gpu"
)

func ptr[T any](v T) *T { return &v }

// wave is between 0 and 1, and the same for the same time.
func wave(now time.Time, seed float64) float64 {
	x := float64(now.Unix()%100_000) / 7
	return 0.5 + 0.5*math.Sin(x+seed*1.7)*math.Cos(x/3+seed)
}

// FiguresOf is what a simulated instance measures at a time, for the fleet and by itself; nil where there is
// nothing. Those of Small have their particular troubles.
func FiguresOf(in api.Instance, now time.Time) (*api.FleetFigures, *gpu.Sample) {
	at := now
	l := &api.FleetFigures{Instance: in.ID}
	switch {
	case in.State == api.StateStopped:
		at = in.StateSince
		l.Silent, l.Why = &at, "it is stopped"
	case in.State == api.StateUnknown:
		at = in.StateSince
		l.Silent, l.Why = &at, "no answer from 10.0.4.18:22 within 10 s"
	case in.State != api.StateRunning:
		return nil, nil
	}
	s := simulate(in, at)
	l.Summary = summary(s, in, at)
	l.IdleToday = idleToday(in, now)
	for _, f := range s.Attention {
		l.Attention = append(l.Attention, api.Attention{Finding: f})
	}
	if in.State == api.StateUnknown {
		l.Attention = []api.Attention{{Finding: gpu.Finding{ID: "agent-silent", Rule: "agent-silent", Severity: "warning",
			Subject: in.Name, Since: at,
			Text:   "its agent has said nothing for 25 minutes: no answer from 10.0.4.18:22",
			Advice: "look whether it runs with berth refresh; restart it if it hangs"}}}
	}
	if in.State != api.StateRunning {
		return l, nil
	}
	return l, &s
}

// idleToday says what GPUs did not do today: those of Small have their own times.
func idleToday(in api.Instance, now time.Time) *api.IdleToday {
	minutes := map[string]float64{"notebook": 130, "train-1": 32}[in.Name]
	if len(in.GPUs) == 0 || in.State != api.StateRunning && minutes == 0 {
		return nil
	}
	out := &api.IdleToday{Day: now.Format(time.DateOnly), GPUSeconds: 60 * minutes}
	if in.RunningUSDPerHour == nil {
		out.Why = "no price of it is known"
		return out
	}
	out.USD = ptr(*in.RunningUSDPerHour * minutes / 60 / float64(len(in.GPUs)))
	return out
}

// simulate makes a sample.
func simulate(in api.Instance, now time.Time) gpu.Sample {
	s := gpu.Sample{SampledAt: now, GPUs: []gpu.GPU{}, Processes: []gpu.Process{}, Disks: []gpu.Disk{},
		GPUSource: "go-nvml", DriverVersion: "570.86.15", CUDAVersion: "12.8", ProcessCount: 412}
	seed := 0.0
	for _, c := range in.ID {
		seed += float64(c)
	}
	busy := in.Name != "notebook" && in.Name != "gpu-lab"
	for i, g := range in.GPUs {
		total := g.MemoryBytes
		u := 0.0
		if busy {
			u = math.Round(70 + 30*wave(now, seed+float64(i)))
		}
		mem := int64(float64(total) * (0.02 + u/130))
		x := gpu.GPU{Index: i, UUID: fmt.Sprintf("GPU-%s-%d", in.ID, i), Name: g.Name, PCI: fmt.Sprintf("00000000:%02X:00.0",
			0x10+i*11), Utilization: &u, MemoryUtilization: ptr(math.Round(u * 0.6)),
			MemoryUsed: &mem, MemoryReserved: ptr(int64(580 << 20)), MemoryTotal: &total,
			Temperature: ptr(math.Round(31 + u*0.42 + float64(i%3))), MemoryTemperature: ptr(math.Round(35 + u*0.5)),
			SlowdownTemperature: ptr(92.0),
			Power:               ptr(math.Round(52 + u*3.1)), PowerLimit: ptr(400.0), Energy: ptr(1.9e8 + float64(i)*1e6),
			SMClock: ptr(210 + u*12), MaxSMClock: ptr(1410.0), MemoryClock: ptr(1215.0), MaxMemoryClock: ptr(1215.0),
			PerformanceState: "P0",
			Throttle:         []string{}, Encoder: ptr(0.0), Decoder: ptr(0.0),
			PCIeRx: ptr(int64(u * 3e6)), PCIeTx: ptr(int64(u * 1e6)),
			PCIeGeneration: ptr(4), PCIeWidth: ptr(16), NVLinkRx: ptr(int64(u * 2e8)), NVLinkTx: ptr(int64(u * 2e8)),
			NVLinks: ptr(12),
			ECC: &gpu.ECC{Corrected: ptr(int64(0)), Uncorrected: ptr(int64(0)), AggregateCorrected: ptr(int64(3)),
				AggregateUncorrected: ptr(int64(0)), RemappedCorrectable: ptr(int64(0)), RemappedUncorrected: ptr(int64(0)),
				RemapPending: ptr(false), RemapFailed: ptr(false)},
			Persistence: ptr(true), ComputeMode: "default", MIGEnabled: ptr(false)}
		if !strings.Contains(g.Name, "A100") && !strings.Contains(g.Name, "H100") {
			x.Fan, x.ECC, x.NVLinkRx, x.NVLinkTx, x.NVLinks, x.MIGEnabled, x.MemoryTemperature = ptr(math.Round(30+u/3)), nil,
				nil, nil, nil, nil, nil
			x.PowerLimit, x.Power = ptr(300.0), ptr(math.Round(20+u*2.5))
		}
		if u == 0 {
			x.Throttle = []string{"idle"}
		}
		if busy {
			x.Held = []gpu.Holder{{Kind: "job", ID: "17", Name: "resnet50"}}
			if i == 0 {
				x.Next = &gpu.Holder{Kind: "job", ID: "21", Name: "evaluate"}
			}
		}
		s.GPUs = append(s.GPUs, x)
	}
	for a := range in.GPUs {
		for b := a + 1; b < len(in.GPUs); b++ {
			k := "PHB"
			if strings.Contains(in.GPUs[a].Name, "A100") {
				k = "NV12"
			}
			s.Topology = append(s.Topology, gpu.Link{A: a, B: b, Kind: k})
		}
	}
	host(&s, in, now, seed)
	processes(&s, in, now, busy)
	trouble(&s, in, now)
	return s
}

func host(s *gpu.Sample, in api.Instance, now time.Time, seed float64) {
	n := max(1, min(in.VCPUs, 96))
	total := max(in.MemoryBytes, 1<<30)
	sum := 0.0
	for i := range n {
		v := math.Round(100 * wave(now, seed+float64(i)*3.1))
		s.Cores = append(s.Cores, v)
		sum += v
	}
	s.CPU, s.IOWait, s.Steal = ptr(math.Round(sum/float64(n))), ptr(1.4), ptr(0.0)
	s.Load1, s.Load5, s.Load15, s.Uptime = ptr(sum/100), ptr(sum/110), ptr(sum/140), 26*3600
	s.Pressure = &gpu.Pressure{CPU: 3.2, IO: 0.4}
	s.MemoryTotal, s.MemoryUsed, s.MemoryCache, s.MemoryAvailable = &total, ptr(total*41/100), ptr(total*37/100),
		ptr(total*57/100)
	s.SwapTotal, s.SwapUsed, s.SwapIn, s.SwapOut = ptr(int64(8<<30)), ptr(int64(200<<20)), ptr(int64(0)), ptr(int64(0))
	s.Networks = []gpu.Network{{Name: "ens5", Rx: ptr(int64(wave(now, seed) * 1.2e9)),
		Tx: ptr(int64(wave(now, seed+2) * 3e8))}, {Name: "docker0", Rx: ptr(int64(1200)), Tx: ptr(int64(0))}}
	s.Devices = []gpu.BlockRate{{Name: "nvme0n1", Read: ptr(int64(wave(now, seed+4) * 2e9)),
		Write: ptr(int64(wave(now, seed+5) * 4e8)), Busy: ptr(math.Round(80 * wave(now, seed+4)))},
		{Name: "nvme1n1", Read: ptr(int64(0)), Write: ptr(int64(8192)), Busy: ptr(0.0)}}
	disk := func(mount, dev, fs string, total int64, pct float64) gpu.Disk {
		used := int64(float64(total) * 0.95 * pct / 100)
		return gpu.Disk{Mount: mount, Device: dev, Filesystem: fs, Options: "rw,relatime", Total: &total, Used: &used,
			Available: ptr(total*95/100 - used), Reserved: ptr(total / 20), UsedPercent: &pct, InodesUsed: ptr(11.0)}
	}
	s.Disks = append(s.Disks, disk("/", "/dev/nvme0n1p1", "ext4", 120<<30, 64), disk("/scratch", "/dev/nvme1n1", "xfs",
		900<<30, 12))
	share := disk("/share", "nfs.example.org:/home", "nfs4", 8<<40, 71)
	share.Network, share.Reserved, share.InodesUsed = true, nil, nil
	s.Disks = append(s.Disks, share)
}

func processes(s *gpu.Sample, in api.Instance, now time.Time, busy bool) {
	add := func(p gpu.Process) {
		if p.User == "ada" && in.User != "" {
			p.User = in.User
		}
		p.StartedAt = now.Add(-time.Duration(p.PID) * time.Second)
		s.Processes = append(s.Processes, p)
	}
	if busy {
		for i, g := range s.GPUs {
			add(gpu.Process{PID: 4100 + i, PPID: 4000, User: "ada",
				Command: fmt.Sprintf("python train.py --config resnet50.yaml --local-rank %d --data /scratch/imagenet", i),
				State:   "running", GPUIndex: ptr(i), GPUKind: "compute", GPUMemory: ptr(*g.MemoryUsed * 97 / 100), SM: g.Utilization,
				CPU: ptr(96 + float64(i)), Memory: ptr(int64(9 << 30)), Threads: 34, Owner: gpu.Owner{Kind: "job", ID: "17",
					Name: "resnet50"}, JobID: "17"})
		}
		add(gpu.Process{PID: 4000, PPID: 3990, User: "ada",
			Command: "torchrun --nproc-per-node 8 train.py --config resnet50.yaml", State: "sleeping", CPU: ptr(0.7),
			Memory: ptr(int64(310 << 20)), Threads: 12, Owner: gpu.Owner{Kind: "job", ID: "17", Name: "resnet50"}, JobID: "17"})
	} else if len(s.GPUs) > 0 {
		add(gpu.Process{PID: 9021, PPID: 1, User: "ada",
			Command: "python -m ipykernel_launcher -f /home/ada/.local/share/jupyter/runtime/kernel-6f2.json", State: "sleeping",
			GPUIndex: ptr(0), GPUKind: "compute", GPUMemory: ptr(int64(410 << 20)), SM: ptr(0.0), CPU: ptr(0.3),
			Memory: ptr(int64(2 << 30)), Threads: 21, Owner: gpu.Owner{Kind: "kernel", Name: "資料探索.ipynb"}})
	}
	add(gpu.Process{PID: 1, User: "root", Command: "/sbin/init", State: "sleeping", CPU: ptr(0.0),
		Memory: ptr(int64(12 << 20)), Threads: 1})
	add(gpu.Process{PID: 2210, PPID: 1, User: "root",
		Command: "/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock", State: "sleeping", CPU: ptr(1.1),
		Memory: ptr(int64(88 << 20)), Threads: 40})
	add(gpu.Process{PID: 3122, PPID: 2210, User: "grace", Command: "tensorboard --logdir runs --port 6006",
		State: "sleeping", CPU: ptr(2.4), Memory: ptr(int64(640 << 20)), Threads: 9, Owner: gpu.Owner{Kind: "container",
			Name: "tensorboard"}})
	add(gpu.Process{PID: 3990, PPID: 1, User: "ada", Command: "-bash", State: "sleeping", CPU: ptr(0.0),
		Memory: ptr(int64(9 << 20)), Threads: 1, Owner: gpu.Owner{Kind: "terminal", ID: "2"}})
}

// trouble gives the instances of Small what is the matter with them.
func trouble(s *gpu.Sample, in api.Instance, now time.Time) {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	find := func(f gpu.Finding) { s.Attention = append(s.Attention, f) }
	switch in.Name {
	case "train-1":
		g := &s.GPUs[3]
		g.Temperature, g.Throttle, g.SMClock = ptr(91.0), []string{"thermal (software)", "power cap"}, ptr(885.0)
		find(gpu.Finding{ID: "gpu-hot:" + g.UUID, Rule: "gpu-hot", Severity: "warning", Subject: "GPU 3",
			Text:   "91 °C for 6 minutes, and slowed down by heat",
			Advice: "look at the cooling of its host; lower its power limit with nvidia-smi -i 3 -pl 300",
			Since:  ago(6 * time.Minute)})
		lost := &s.GPUs[5]
		xid := &gpu.XID{Code: 79, At: ago(4 * time.Minute), Meaning: "the GPU has fallen off the bus",
			Advice: "stop what runs on it, then restart the instance; if it comes again, have the machine replaced"}
		*lost = gpu.GPU{Index: 5, UUID: lost.UUID, Name: lost.Name, PCI: lost.PCI, Error: "GPU is lost", LastXID: xid}
		find(gpu.Finding{ID: "gpu-xid:" + lost.UUID, Rule: "gpu-xid", Severity: "critical", Subject: "GPU 5",
			Text: "XID 79: the GPU has fallen off the bus", Advice: xid.Advice, Since: ago(4 * time.Minute)})
		s.Processes = append(s.Processes, gpu.Process{PID: 3871, PPID: 4000, StartedAt: ago(2 * time.Hour), User: in.User,
			Command: "python train.py", State: "zombie", GPUIndex: ptr(6), GPUMemory: ptr(int64(2 << 30)),
			Note: "zombie: its GPU memory is held until its parent waits for it", Owner: gpu.Owner{Kind: "job", ID: "16"}})
	case "notebook":
		d := &s.Disks[0]
		pct, used := 93.0, int64(106<<30)
		d.UsedPercent, d.Used, d.Available, d.Growth, d.FullIn = &pct, &used, ptr(int64(8<<30)), ptr(410e3), ptr(5.7*3600)
		find(gpu.Finding{ID: "disk-full:/", Rule: "disk-full", Severity: "critical", Subject: "/",
			Text:   "93 % used, and full in 5 hours if it goes on filling like this",
			Advice: "see what can be deleted: du -xh -d1 / | sort -h; a full disk keeps the instance from stopping",
			Since:  ago(33 * time.Minute)})
		find(gpu.Finding{ID: "gpu-idle", Rule: "gpu-idle", Severity: "info", Subject: "GPU 0",
			Text: "idle for 47 minutes at $1.03 an hour", Advice: "stop it if it is not needed: berth stop notebook",
			Since: ago(47 * time.Minute)})
	case "scratch":
		s.Disks[1].InodesUsed = ptr(84.0)
		g := &s.GPUs[1]
		g.Utilization, g.MemoryUtilization, g.MIGEnabled, g.Encoder, g.Decoder = nil, nil, ptr(true), nil, nil
		for i := range 2 {
			g.MIG = append(g.MIG, gpu.MIG{Index: i, UUID: fmt.Sprintf("MIG-%s-%d", in.ID, i), Profile: "3g.24gb",
				GPUInstance: i + 1, MemoryUsed: ptr(int64(3<<30) * int64(i+1)), MemoryTotal: ptr(int64(24 << 30))})
		}
	case "gpu-lab":
		stale := ago(3 * time.Minute)
		s.GPUsStaleSince, s.GPUError = &stale, "the NVIDIA driver has not answered for 3 minutes; the probe is being replaced"
	}
}

// summary makes a sample small, as the agent does.
func summary(s gpu.Sample, in api.Instance, now time.Time) *gpu.Summary {
	out := &gpu.Summary{At: s.SampledAt, GPUError: s.GPUError, Stale: s.GPUsStaleSince != nil, CPU: s.CPU,
		MemoryUsed: s.MemoryUsed, Memory: s.MemoryTotal, Attention: s.Attention}
	idle := len(s.GPUs) > 0
	for _, g := range s.GPUs {
		x := gpu.GPUSummary{Name: g.Name, Index: g.Index, Utilization: g.Utilization, MemoryUsed: g.MemoryUsed,
			MemoryTotal: g.MemoryTotal, Unified: g.Unified,
			Temperature: g.Temperature, Power: g.Power, PowerLimit: g.PowerLimit, Error: g.Error}
		x.Throttled = len(g.Throttle) > 0 && g.Throttle[0] != "idle"
		if g.LastXID != nil && !g.LastXID.Application {
			x.XID = g.LastXID.Code
		}
		if g.Utilization == nil || *g.Utilization > 0 {
			idle = false
		}
		for _, p := range s.Processes {
			if p.GPUIndex != nil && *p.GPUIndex == g.Index {
				x.User = p.User
				x.Held = strings.TrimSpace(p.Owner.Kind + " " + cmp.Or(p.Owner.Name, p.Owner.ID))
				out.GPUProcesses++
				break
			}
		}
		if len(g.Held) > 0 {
			x.Held = g.Held[0].String()
		}
		if g.Next != nil {
			x.Next = g.Next.String()
		}
		out.GPUs = append(out.GPUs, x)
	}
	if idle {
		since := in.StateSince
		if in.IdleSince != nil {
			since = *in.IdleSince
		}
		out.GPUIdleSince = &since
	}
	for _, d := range s.Disks {
		if !d.Network && (out.DiskPercent == nil || *d.UsedPercent > *out.DiskPercent) {
			out.Disk, out.DiskPercent, out.DiskInodes, out.DiskFullIn, out.DiskAvailable = d.Mount, d.UsedPercent, false,
				d.FullIn, d.Available
		}
		if !d.Network && d.InodesUsed != nil && *d.InodesUsed > *out.DiskPercent {
			out.Disk, out.DiskPercent, out.DiskInodes, out.DiskFullIn, out.DiskAvailable = d.Mount, d.InodesUsed, true, d.FullIn,
				d.Available
		}
	}
	return out
}

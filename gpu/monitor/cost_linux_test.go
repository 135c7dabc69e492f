package monitor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"testing"
	"time"

	"berth/gpu/host"
	"berth/gpu/procs"
)

// BenchmarkMonitor measures what an agent pays for a host with 8 GPUs, 30 processes on them and 10 file systems: the
// time of the processor that one sample takes, also the kernel's, and so the share of a core at a sample each second
// (watched) and each 10 s. The figures of the GPUs come from gpu/probe, whose process has its own benchmark.
func BenchmarkMonitor(b *testing.B) {
	var pids []int
	for range 30 {
		cmd := exec.Command("sleep", "1000")
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		pids = append(pids, cmd.Process.Pid)
	}
	var mounts []host.Mount
	for i := range 10 {
		dir := b.TempDir()
		mounts = append(mounts, host.Mount{ID: i, Device: fmt.Sprint(i), Root: "/", Point: dir, Type: "ext4",
			Source: "/dev/x", Options: "rw"})
	}
	for _, watched := range []bool{true, false} {
		name, every := "unwatched", Idle
		if watched {
			name, every = "watched", Fastest
		}
		b.Run(name, func(b *testing.B) {
			now, mono := time.Now(), time.Duration(0)
			elapsed := func() time.Duration { return mono }
			m := New(Options{GPU: &fakeGPUs{state: eight(50, pids...)}, History: filepath.Join(b.TempDir(), "history"),
				Now:   func() time.Time { return now },
				Host:  host.Options{Mounts: func() ([]host.Mount, error) { return mounts, nil }, Elapsed: elapsed},
				Procs: procs.Options{Elapsed: elapsed, Foreign: p(false)}})
			var stop func()
			if watched {
				c, s := m.Watch(every)
				stop = s
				go func() {
					for s := range c {
						_, _ = json.Marshal(s)
					}
				}()
			}
			step := func() { now, mono = now.Add(every), mono+every; m.tick(b.Context()) }
			for range 5 {
				step()
			}
			before, n := cpuTime(b), 0
			for b.Loop() {
				step()
				n++
			}
			per := (cpuTime(b) - before) / time.Duration(n)
			b.ReportMetric(float64(per.Microseconds()), "cpu-µs/sample")
			b.ReportMetric(100*float64(per)/float64(every), "%core")
			b.ReportMetric(float64(m.Last().ProcessCount), "processes")
			runtime.GC()
			debug.FreeOSMemory()
			b.ReportMetric(resident(b), "resident-MB")
			if stop != nil {
				stop()
			}
			_ = m.history.Close()
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func resident(b *testing.B) float64 {
	s, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.Atoi(string(bytes.Fields(s)[1]))
	if err != nil {
		b.Fatal(err)
	}
	return float64(pages*os.Getpagesize()) / 1e6
}

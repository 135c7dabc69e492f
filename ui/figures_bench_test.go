package ui_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"berth/backend/api"
	"berth/gpu"
	"berth/ui/data"
	"berth/ui/uitest"
)

// figureLines are the lines of n instances with g GPUs each, for one second.
func figureLines(list []api.Instance, now time.Time) []api.FleetFigures {
	var out []api.FleetFigures
	for _, in := range list {
		if l, _ := uitest.FiguresOf(in, now); l != nil {
			out = append(out, *l)
		}
	}
	return out
}

// seconds are a few seconds of a fleet's figures, to be repeated.
func seconds(list []api.Instance) [][]api.FleetFigures {
	var out [][]api.FleetFigures
	for i := range 4 {
		out = append(out, figureLines(list, uitest.Epoch.Add(time.Duration(i)*time.Second)))
	}
	return out
}

// encoded are lines as they come from the service.
func encoded(b *testing.B, secs [][]api.FleetFigures) [][][]byte {
	var out [][][]byte
	bytes, n := 0, 0
	for _, s := range secs {
		var lines [][]byte
		for _, l := range s {
			raw, err := json.Marshal(l)
			if err != nil {
				b.Fatal(err)
			}
			lines = append(lines, raw)
			bytes, n = bytes+len(raw), n+1
		}
		out = append(out, lines)
	}
	b.ReportMetric(float64(bytes)/float64(n), "B/line")
	return out
}

// cpu is the processor time that the process has used.
func cpu(b *testing.B) time.Duration {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// BenchmarkFigures is a second of a fleet's figures, read from JSON, gathered into four deltas, applied and drawn.
// core-% is the share of one core that this takes at a line a second from each.
func BenchmarkFigures(b *testing.B) {
	for _, c := range []struct {
		n, gpus int
		screen  string
	}{{200, 8, ""}, {200, 8, "w"}, {200, 8, "!"}, {10_000, 1, ""}} {
		for _, by := range []string{"name", "gpus"} {
			if by == "gpus" && c.screen != "" {
				continue
			}
			b.Run(fmt.Sprintf("instances=%d/screen=%s/by=%s", c.n, c.screen, by), func(b *testing.B) {
				list := uitest.Cluster(uitest.Epoch, c.n, c.gpus)
				o := uitest.Options{Width: 200, Height: 60, Look: truecolor}
				o.Config.Sort = by
				d := uitest.Drive(o, list...)
				wire := encoded(b, seconds(list))
				feed := data.NewFigureFeed(nil, nil, d.Now)
				if c.screen != "" {
					d.Press(c.screen)
				}
				b.ReportAllocs()
				began, n := cpu(b), 0
				for i := 0; b.Loop(); i++ {
					n++
					d.Pass(time.Second)
					s := wire[i%len(wire)]
					for k := range 4 {
						for _, raw := range s[len(s)*k/4 : len(s)*(k+1)/4] {
							var l api.FleetFigures
							if err := json.Unmarshal(raw, &l); err != nil {
								b.Fatal(err)
							}
							feed.Add(l)
						}
						delta, _ := feed.Take()
						d.M.Update(delta)
						_ = d.M.View()
					}
				}
				b.ReportMetric(100*(cpu(b)-began).Seconds()/float64(n), "core-%")
			})
		}
	}
}

// BenchmarkKeyWhileMeasured reports the p99 of a key's frame while figures arrive: the worst case is a key that
// waits for a delta and its frame.
func BenchmarkKeyWhileMeasured(b *testing.B) {
	for _, c := range []struct{ n, gpus int }{{200, 8}, {10_000, 1}} {
		b.Run(fmt.Sprint(c.n), func(b *testing.B) {
			list := uitest.Cluster(uitest.Epoch, c.n, c.gpus)
			o := uitest.Options{Width: 200, Height: 60, Look: truecolor}
			o.Config.Sort = "gpus"
			d := uitest.Drive(o, list...)
			lines := seconds(list)
			feed := data.NewFigureFeed(nil, nil, d.Now)
			var took, used []time.Duration
			for i := 0; b.Loop(); i++ {
				d.Pass(250 * time.Millisecond)
				s := lines[i/4%len(lines)]
				for _, l := range s[len(s)*(i%4)/4 : len(s)*(i%4+1)/4] {
					feed.Add(l)
				}
				from, busy := time.Now(), cpu(b)
				delta, _ := feed.Take()
				d.M.Update(delta)
				d.M.Update(uitest.Key([]string{"j", "k"}[i%2]))
				_ = d.M.View()
				took, used = append(took, time.Since(from)), append(used, cpu(b)-busy)
			}
			slices.Sort(took)
			slices.Sort(used) // what other programs take from a busy machine is not in it
			b.ReportMetric(float64(used[len(used)*99/100].Microseconds())/1000, "p99-cpu-ms")
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

// BenchmarkTop is a sample of a host with 8 GPUs and 30 processes taken in and drawn, and a key on it.
func BenchmarkTop(b *testing.B) {
	for _, z := range [][2]int{{80, 24}, {200, 60}} {
		b.Run(fmt.Sprintf("%dx%d", z[0], z[1]), func(b *testing.B) {
			d := uitest.Drive(uitest.Options{Width: z[0], Height: z[1], Look: truecolor}, uitest.Small(uitest.Epoch)...)
			d.WS.Measure(uitest.Epoch)
			d.Settle()
			d.To("train-1")
			d.Press("f")
			_, s := uitest.FiguresOf(at(uitest.Small(uitest.Epoch), "train-1"), uitest.Epoch)
			for i := range 16 {
				s.Processes = append(s.Processes, gpu.Process{PID: 7000 + i, User: "ada", Command: "python worker.py"})
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				v := *s
				v.SampledAt = uitest.Epoch.Add(time.Duration(i+1) * time.Second)
				d.WS.PutSample("i-0001", v)
				d.Settle()
				d.M.Update(uitest.Key([]string{"j", "k"}[i%2]))
				_ = d.M.View()
			}
		})
	}
}

// BenchmarkFiguresMemory reports the heap of a dashboard over 200 instances with 8 GPUs each.
func BenchmarkFiguresMemory(b *testing.B) {
	list := uitest.Cluster(uitest.Epoch, 200, 8)
	for b.Loop() {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d := uitest.Drive(uitest.Options{Width: 200, Height: 60, Look: truecolor}, list...)
		for i := range 3 {
			for _, l := range figureLines(list, uitest.Epoch.Add(time.Duration(i)*time.Second)) {
				d.WS.PutFigures(l)
			}
			d.Settle()
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB")
		runtime.KeepAlive(d)
	}
}

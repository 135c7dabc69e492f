package ui_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/muesli/termenv"

	"berth/backend/api"
	"berth/ui/data"
	"berth/ui/theme"
	"berth/ui/uitest"
)

var truecolor = theme.Options{Profile: termenv.TrueColor, Dark: true}

// BenchmarkKey is one key and the frame that follows it, without bubbletea.
func BenchmarkKey(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		for _, z := range [][2]int{{120, 40}, {200, 60}} {
			b.Run(fmt.Sprintf("rows=%d/%dx%d", n, z[0], z[1]), func(b *testing.B) {
				d := uitest.Drive(uitest.Options{Width: z[0], Height: z[1], Look: truecolor}, uitest.Many(uitest.Epoch, n)...)
				keys := []string{"j", "j", "j", "k"}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					d.M.Update(uitest.Key(keys[i%4]))
					_ = d.M.View()
				}
			})
		}
	}
}

// change makes n instances with another state each.
func change(list []api.Instance, from, n int) data.Delta {
	d := data.Delta{Connected: true}
	for i := range n {
		in := list[(from+i*37)%len(list)]
		in.StateSince = uitest.Epoch
		if (from+i)%2 == 0 {
			in.State = api.StateStopping
		}
		d.Changed = append(d.Changed, &in)
	}
	return d
}

// BenchmarkChanges is one delta of 100 changes (1,000 a second) applied, sorted in and drawn.
func BenchmarkChanges(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		for _, by := range []string{"name", "state"} {
			b.Run(fmt.Sprintf("rows=%d/by=%s", n, by), func(b *testing.B) {
				list := uitest.Many(uitest.Epoch, n)
				o := uitest.Options{Width: 120, Height: 40, Look: truecolor}
				o.Config.Sort = by
				d := uitest.Drive(o, list...)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					d.M.Update(change(list, i*101, 100))
					_ = d.M.View()
				}
			})
		}
	}
}

// BenchmarkFilter is one letter typed into the filter of 10,000 rows.
func BenchmarkFilter(b *testing.B) {
	d := uitest.Drive(uitest.Options{Width: 120, Height: 40, Look: truecolor}, uitest.Many(uitest.Epoch, 10_000)...)
	d.Press("/")
	d.Type("node")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k := "1"
		if i%2 == 1 {
			k = "backspace"
		}
		d.M.Update(uitest.Key(k))
		_ = d.M.View()
	}
}

// BenchmarkSort is another column to sort 10,000 rows by.
func BenchmarkSort(b *testing.B) {
	d := uitest.Drive(uitest.Options{Width: 120, Height: 40, Look: truecolor}, uitest.Many(uitest.Epoch, 10_000)...)
	for i := 0; b.Loop(); i++ {
		d.M.Update(uitest.Key([]string{"1", "2", "4", "7"}[i%4]))
		_ = d.M.View()
	}
}

// BenchmarkDetail is a key on the detail screen.
func BenchmarkDetail(b *testing.B) {
	d := uitest.Drive(uitest.Options{Width: 120, Height: 40, Look: truecolor}, uitest.Small(uitest.Epoch)...)
	d.Press("enter")
	for i := 0; b.Loop(); i++ {
		d.M.Update(uitest.Key([]string{"j", "k"}[i%2]))
		_ = d.M.View()
	}
}

// BenchmarkKeyWhileBusy reports the p99 of a key's frame while 1,000 changes a second arrive: the
// worst case is a key that waits for a delta and its frame.
func BenchmarkKeyWhileBusy(b *testing.B) {
	list := uitest.Many(uitest.Epoch, 10_000)
	d := uitest.Drive(uitest.Options{Width: 200, Height: 60, Look: truecolor}, list...)
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		delta := change(list, i*101, 100)
		from := time.Now()
		d.M.Update(delta)
		_ = d.M.View()
		d.M.Update(uitest.Key("j"))
		_ = d.M.View()
		took = append(took, time.Since(from))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkMemory reports the heap of a dashboard with 10,000 instances.
func BenchmarkMemory(b *testing.B) {
	list := uitest.Many(uitest.Epoch, 10_000)
	for b.Loop() {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d := uitest.Drive(uitest.Options{Width: 120, Height: 40, Look: truecolor})
		feed := data.NewFeed(nil, nil)
		for i := 0; i < 10_000; i += 250 {
			// Over JSON, as they come from the service: no two share their texts.
			line, err := json.Marshal(api.Change{Snapshot: list[i : i+250], Complete: i == 9750})
			if err != nil {
				b.Fatal(err)
			}
			var c api.Change
			if err := json.Unmarshal(line, &c); err != nil {
				b.Fatal(err)
			}
			feed.Add(c)
		}
		delta, _ := feed.Take()
		d.M.Update(delta)
		delta = data.Delta{}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB")
		runtime.KeepAlive(d)
	}
}

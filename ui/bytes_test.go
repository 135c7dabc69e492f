package ui_test

import (
	"bytes"
	"testing"
	"time"

	"berth/backend/api"
	"berth/ui/renderer"
	"berth/ui/uitest"
)

// counted is a terminal that counts what it is sent.
type counted struct{ bytes.Buffer }

// BenchmarkBytes reports how many bytes go to a terminal of 120x40 for a key, for a list that scrolls
// by one, for a second that passes while a state changes, and for a whole frame.
func BenchmarkBytes(b *testing.B) {
	for b.Loop() {
		d := uitest.Drive(uitest.Options{Width: 120, Height: 40, Look: truecolor},
			uitest.Many(uitest.Epoch.Add(-48*time.Hour), 500)...)
		var out counted
		p := renderer.New(&out)
		p.Resume()
		step := func(name string, f func()) {
			f()
			out.Reset()
			p.Frame(d.M.View(), 120, 40)
			p.Paint()
			b.ReportMetric(float64(out.Len()), name)
		}
		step("B/frame", func() {})
		step("B/key", func() { d.Press("j") })
		d.Press("pgdown")
		p.Frame(d.M.View(), 120, 40)
		p.Paint()
		step("B/scroll", func() { d.Press("j") })
		few := uitest.Drive(uitest.Options{Width: 120, Height: 40, Look: truecolor}, uitest.Small(uitest.Epoch)...)
		p.Frame(few.M.View(), 120, 40)
		p.Paint()
		few.Press("j")
		out.Reset()
		p.Frame(few.M.View(), 120, 40)
		p.Paint()
		b.ReportMetric(float64(out.Len()), "B/key-pane")
		p.Frame(d.M.View(), 120, 40)
		p.Paint()
		in := uitest.Many(uitest.Epoch, 500)[200]
		in.Name, in.State, in.StateSince = d.M.Subjects()[0].Name, api.StateStarting, d.Now()
		in.ID = d.M.Subjects()[0].ID
		d.WS.Put(in)
		d.Settle()
		p.Frame(d.M.View(), 120, 40)
		p.Paint()
		step("B/second", func() { d.Pass(time.Second) })
	}
}

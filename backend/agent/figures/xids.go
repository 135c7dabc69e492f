package figures

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"berth/backend/base/atomicfile"
	"berth/gpu"
	"berth/gpu/monitor"
	"berth/gpu/probe"
)

// xidsFor is how long the last error of a GPU is remembered.
const xidsFor = 30 * 24 * time.Hour

// xids remembers the last error of each GPU beyond the agent's end: the driver tells each only once. It belongs
// to the monitor's goroutine.
type xids struct {
	monitor.GPUs
	path string
	log  *slog.Logger
	last map[string]gpu.XID // by the GPU's UUID
}

func newXIDs(g monitor.GPUs, path string, log *slog.Logger) *xids {
	x := &xids{GPUs: g, path: path, log: log}
	if err := atomicfile.Read(path, &x.last); err != nil || x.last == nil {
		x.last = map[string]gpu.XID{} // none yet, or not to be read: what comes is kept
	}
	return x
}

// Latest implements monitor.GPUs.
func (x *xids) Latest() probe.State {
	st := x.GPUs.Latest()
	news, cloned := false, false
	for i := range st.Reading.GPUs {
		g := &st.Reading.GPUs[i]
		known, ok := x.last[g.UUID]
		switch {
		case g.LastXID != nil && (!ok || g.LastXID.At.After(known.At)):
			x.last[g.UUID], news = *g.LastXID, true
		case g.LastXID == nil && ok:
			if !cloned { // a reading is shared
				st.Reading.GPUs, cloned = slices.Clone(st.Reading.GPUs), true
			}
			st.Reading.GPUs[i].LastXID = &known
		}
	}
	if news {
		maps.DeleteFunc(x.last, func(_ string, e gpu.XID) bool { return time.Since(e.At) > xidsFor })
		if err := atomicfile.Write(x.path, x.last); err != nil {
			x.log.Warn("keeping the last errors of GPUs", "err", err) // a full disk: they are kept until the agent ends
		}
	}
	return st
}

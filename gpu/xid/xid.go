package xid

import (
	"fmt"
	"sync"
	"time"

	"github.com/pelletier/go-toml/v2"

	"berth/assets"
	"berth/gpu"
)

// Entry is what is known of one number.
type Entry struct {
	Code    int    `toml:"code"`
	Meaning string `toml:"meaning"`
	Advice  string `toml:"advice"`
	// Application says that a program on the GPU is the usual cause, not the GPU.
	Application bool `toml:"application"`
	// Severity is "none", "warning" or "critical" for the GPU; an application's error is none.
	Severity string `toml:"severity"`
}

var table = sync.OnceValues(func() (map[int]Entry, error) {
	var file struct {
		XID []Entry `toml:"xid"`
	}
	if err := toml.Unmarshal(assets.XIDs, &file); err != nil {
		return nil, fmt.Errorf("reading the table of XIDs: %w", err)
	}
	out := make(map[int]Entry, len(file.XID))
	for _, e := range file.XID {
		if _, twice := out[e.Code]; twice || e.Code <= 0 || e.Meaning == "" || e.Advice == "" {
			return nil, fmt.Errorf("reading the table of XIDs: entry %d stands twice or is not complete", e.Code)
		}
		switch {
		case e.Application && e.Severity == "":
			e.Severity = "none"
		case e.Severity == "":
			e.Severity = "critical"
		case e.Severity != "none" && e.Severity != "warning":
			return nil, fmt.Errorf("reading the table of XIDs: entry %d has the severity %q", e.Code, e.Severity)
		}
		out[e.Code] = e
	}
	return out, nil
})

// Look returns what is known of a number. One that is not in the table is said to be unknown, and never
// an application's.
func Look(code int) Entry {
	t, err := table()
	if e, ok := t[code]; ok && err == nil {
		return e
	}
	return Entry{
		Code: code, Severity: "critical", Meaning: "an error that this version of Berth does not know",
		Advice: "look it up in NVIDIA's list of Xid errors and into dmesg; if it comes again, drain the GPU and run its diagnostics",
	}
}

// Event is a gpu.XID that happened at a time.
func Event(code int, at time.Time) gpu.XID {
	e := Look(code)
	return gpu.XID{Code: code, At: at, Meaning: e.Meaning, Advice: e.Advice, Application: e.Application,
		Severity: e.Severity}
}

package attention

import (
	"bytes"
	"fmt"
	"sync"
	"time"

	"github.com/pelletier/go-toml/v2"

	"berth/assets"
	"berth/gpu"
	"berth/gpu/xid"
)

// Rule says when the figure of a kind of observation is a finding.
type Rule struct {
	ID       string   `toml:"id"`
	Raise    float64  `toml:"raise"`    // from here on
	Clear    float64  `toml:"clear"`    // until it is below; at most Raise
	Critical *float64 `toml:"critical"` // from here on it is critical; nil: never more than Severity
	For      Duration `toml:"for"`      // how long it has to last
	Severity string   `toml:"severity"` // "info", "warning", "critical"
	Advice   string   `toml:"advice"`
}

// Duration is a time.Duration that reads "1m30s".
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err == nil && v < 0 {
		err = fmt.Errorf("%s is negative", b)
	}
	*d = Duration(v)
	return err
}

// Parse reads rules.
func Parse(text []byte) ([]Rule, error) {
	var doc struct {
		Rule []Rule `toml:"rule"`
	}
	dec := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("reading the rules of attention: %w", err)
	}
	seen := map[string]bool{}
	for _, r := range doc.Rule {
		switch {
		case kinds[r.ID] == "":
			return nil, fmt.Errorf("reading the rules of attention: there is nothing that is called %q", r.ID)
		case seen[r.ID]:
			return nil, fmt.Errorf("reading the rules of attention: %q stands twice", r.ID)
		case !(r.Clear <= r.Raise):
			return nil, fmt.Errorf("reading the rules of attention: %s: clear = %v must not be above raise = %v", r.ID, r.Clear,
				r.Raise)
		case r.Critical != nil && !(*r.Critical >= r.Raise):
			return nil, fmt.Errorf("reading the rules of attention: %s: critical = %v must not be below raise = %v", r.ID,
				*r.Critical, r.Raise)
		case r.Severity != "info" && r.Severity != "warning" && r.Severity != "critical":
			return nil, fmt.Errorf("reading the rules of attention: %s: severity %q: info, warning or critical", r.ID,
				r.Severity)
		}
		seen[r.ID] = true
	}
	return doc.Rule, nil
}

// Advice is what the rules that come with Berth say of what to do about a finding; empty: nothing.
func Advice(f gpu.Finding) string {
	var code int
	if f.Rule == "gpu-xid" {
		if _, err := fmt.Sscanf(f.Text, "XID %d:", &code); err == nil {
			return xid.Look(code).Advice
		}
	}
	rules, err := Builtin()
	if err != nil {
		return ""
	}
	for _, r := range rules {
		if r.ID == f.Rule {
			return r.Advice
		}
	}
	return ""
}

// Builtin are the rules that come with Berth.
func Builtin() ([]Rule, error) { return parsed() }

var parsed = sync.OnceValues(func() ([]Rule, error) { return Parse(assets.Attention()) })

package detail

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"berth/backend/api"
	"berth/ui/action"
	"berth/ui/data"
	"berth/ui/money"
	"berth/ui/theme"
)

// part is a part of the page.
type part int

const (
	partState   part = iota // how it is
	partEvents              // what happens and what to know
	partFigures             // what is measured, and what it is
	partReach
	partMoney
	partRecord
)

// entry is one thing on the screen: a heading, a field, a step, a remark.
type entry struct {
	part   part
	column int // that it stands in
	head   bool
	glyph  string
	label  string
	value  string
	tail   string // dim, behind the value
	st     theme.Style
	gs     theme.Style // of the glyph
	copy   string      // what y copies; empty: the cursor passes over
	wrap   bool
}

// build lists what is to be drawn now.
func (d *Detail) build() []entry {
	t := d.e.Theme
	var out []entry
	here := partState
	styled := func(label, value string, st theme.Style) {
		if value != "" && value != money.Unknown {
			out = append(out, entry{part: here, label: label, value: value, st: st, copy: value})
		}
	}
	field := func(label, value string) { styled(label, value, t.Text) }
	head := func(p part, s string) {
		here = p
		out = append(out, entry{part: p, head: true, label: s})
	}
	r := d.e.Store.Row(d.id)
	op := d.e.Store.Op(d.id)
	if r == nil {
		head(partState, d.name)
		word := "It is being made; its figures come as soon as the service has them."
		if d.last != nil {
			word = "This instance is gone."
			if r = d.last; r.Adopted {
				word = "Berth has forgotten this machine."
			}
		}
		out = append(out, entry{value: word, st: t.Dim, wrap: true})
		if d.last == nil {
			return d.operation(out, op, false)
		}
	}
	in := &r.Instance
	gone := in != nil && d.e.Store.Row(d.id) == nil
	if !gone {
		ago := ""
		switch {
		case in.State.Changing():
			ago = " for " + d.e.Elapsed(in.StateSince)
		case !in.StateSince.IsZero():
			if a := d.e.Age(in.StateSince); a != "now" {
				ago = " for " + a
			}
		}
		out = append(out, entry{label: "state", glyph: t.StateGlyph(in.State), gs: t.State(in.State),
			value: action.Word(in.State) + ago, st: t.State(in.State), copy: string(in.State)})
	}
	if op == nil || op.Error == nil || !same(in.StateReason, op.Error.Message) { // it stands there, with what to do
		field("reason", in.StateReason)
	}
	if in.ObservedAt != nil && !gone {
		field("seen", ago(d.e.Age(*in.ObservedAt)))
	}
	if in.IdleSince != nil && in.State == api.StateRunning {
		field("idle", idle(d.e.Age(*in.IdleSince)))
	}
	if !gone {
		d.figures(styled, func(s string) { head(partFigures, s) })
	}
	head(partFigures, "Machine")
	field("backend", in.Backend)
	field("size", in.Size)
	field("vCPUs", positive(in.VCPUs))
	field("memory", money.Size(in.MemoryBytes))
	field("disk", money.Size(in.DiskBytes))
	field("GPUs", gpus(in.GPUs))
	field("image", in.Image)
	field("profiles", strings.Join(in.Profiles, ", "))
	field("network", in.Subnet)
	field("region", in.Region)
	field("account", in.Account)
	head(partReach, "Reach")
	field("address", in.Address)
	field("port", positive(in.Port))
	field("user", in.User)
	if in.SSHEnabled {
		field("ssh", "open to others with a key")
	} else {
		field("ssh", "closed to others; Berth's own line is there")
	}
	field("folder", in.Workdir)
	if a := in.Agent; a != nil {
		s := a.State
		if a.Version != "" {
			s += ", " + a.Version
		}
		if a.Transport != "" {
			s += ", over " + a.Transport
		}
		field("agent", s)
		field("", a.Reason)
		field("reboot", a.AfterReboot)
		if d := time.Duration(a.ClockAhead * float64(time.Second)); d != 0 {
			field("clock", api.ClockText(d)+" of this computer's")
		}
	}
	head(partMoney, "People and money")
	field("owner", in.Owner)
	field("for", in.AssignedTo)
	cost := func(label string, v *float64, unit string) {
		if v != nil {
			field(label, money.USD(*v)+unit)
		}
	}
	cost("price", in.PriceUSDPerHour, " an hour")
	cost("running", in.RunningUSDPerHour, " an hour")
	cost("stopped", in.StoppedUSDPerHour, " an hour")
	cost("today", in.CostTodayUSD, "")
	head(partRecord, "Record")
	if in.Adopted {
		field("origin", "adopted: it was there before Berth")
	}
	field("created", stamp(in.CreatedAt))
	field("changed", stamp(in.UpdatedAt))
	field("id", in.ID)
	field("provider", in.ProviderID)
	if in.ProviderName != in.Name {
		field("known as", in.ProviderName)
	}
	tags := r.UserTags()
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		field("tag", k+"="+tags[k])
	}
	out = d.findings(out)
	out = d.operation(out, op, r.Adopted)
	if len(in.Notes) > 0 {
		head(partEvents, "Good to know")
		for _, n := range in.Notes {
			out = append(out, entry{part: partEvents, label: "note", glyph: t.Bullet, gs: t.Busy, value: n, st: t.Text, wrap: true,
				copy: n})
		}
	}
	out = d.missing(out, in)
	return d.recent(out, r)
}

// operation lists the steps of the operation under way, or of the last one. To delete an adopted one is to forget it.
func (d *Detail) operation(out []entry, op *api.Operation, adopted bool) []entry {
	if op == nil {
		return out
	}
	t := d.e.Theme
	kind := op.Kind
	if adopted && kind == "delete" {
		kind = "forget"
	}
	title := strings.ToUpper(kind[:min(1, len(kind))]) + kind[min(1, len(kind)):]
	switch {
	case !op.State.Done():
		title += " under way for " + d.e.Elapsed(op.CreatedAt)
	case op.EndedAt != nil:
		title += " " + string(op.State) + " in " + length(op.EndedAt.Sub(op.CreatedAt))
	default:
		title += " " + string(op.State)
	}
	out = append(out, entry{part: partEvents, head: true, label: title})
	for _, s := range op.Steps {
		st, gs := t.Text, t.Dim
		took := ""
		switch s.State {
		case api.OpSucceeded:
			gs = t.Good
		case api.OpRunning:
			gs = t.Busy
		case api.OpFailed, api.OpCancelled:
			gs, st = t.Bad, t.Bad
		default:
			st = t.Dim
		}
		switch {
		case s.StartedAt != nil && s.EndedAt != nil:
			took = length(s.EndedAt.Sub(*s.StartedAt))
		case s.StartedAt != nil && s.State == api.OpRunning:
			took = d.e.Elapsed(*s.StartedAt)
		}
		name := s.Title
		if name == "" {
			name = s.Name
		}
		out = append(out, entry{part: partEvents, label: "step", glyph: t.OpGlyph(s.State), gs: gs, value: name, tail: took, st: st,
			wrap: true, copy: name})
		said := op.Error != nil && same(stepMessage(&s), op.Error.Message) // below
		tells := s.State == api.OpRunning && len(s.Parts) == 0 || s.State == api.OpFailed || s.State == api.OpSkipped
		if msg := stepMessage(&s); msg != "" && tells && !said {
			out = append(out, entry{part: partEvents, label: "message", glyph: " ", value: msg, st: t.Dim, wrap: true, copy: msg})
		}
		for _, p := range s.Parts {
			out = append(out, d.part(&p, op.Error))
		}
	}
	if e := op.Error; e != nil {
		out = append(out, entry{part: partEvents, label: "error", glyph: t.Cross, gs: t.Bad, value: e.Message, st: t.Bad, wrap: true,
			copy: e.Message})
		if e.Hint != "" {
			out = append(out, entry{part: partEvents, label: "hint", glyph: t.Arrow, gs: t.Accent, value: e.Hint, st: t.Text,
				wrap: true, copy: e.Hint})
		}
	}
	return out
}

// same reports whether one of two texts says what the other does.
func same(a, b string) bool {
	return a != "" && b != "" && (strings.Contains(a, b) || strings.Contains(b, a))
}

// stepMessage is what a step is doing, with how far it is where that is known.
func stepMessage(s *api.Step) string {
	if s.State != api.OpRunning || s.TotalBytes <= 0 {
		return s.Message
	}
	done := min(max(s.DoneBytes, 0), s.TotalBytes)
	return fmt.Sprintf("%s: %s of %s (%d%%)", s.Message, money.Bytes(done), money.Size(s.TotalBytes),
		done*100/s.TotalBytes)
}

// part is the line of one step of a set-up.
func (d *Detail) part(p *api.StepPart, failed *api.Error) entry {
	t := d.e.Theme
	e := entry{part: partEvents, label: "part", glyph: " " + t.OpGlyph(p.State), gs: t.Dim, value: p.Title, st: t.Dim, wrap: true,
		copy: p.Title}
	switch p.State {
	case api.OpSucceeded:
		e.gs, e.st = t.Good, t.Text
	case api.OpRunning:
		e.gs, e.st = t.Busy, t.Text
	case api.OpFailed, api.OpCancelled:
		e.gs, e.st = t.Bad, t.Bad
		if p.Message != "" && (failed == nil || !same(p.Message, failed.Message)) {
			e.value += ": " + p.Message
		}
	}
	switch {
	case p.StartedAt != nil && p.EndedAt != nil:
		e.tail = length(p.EndedAt.Sub(*p.StartedAt))
	case p.StartedAt != nil && p.State == api.OpRunning:
		e.tail = d.e.Elapsed(*p.StartedAt)
	}
	return e
}

// missing lists what can't be done with this instance, and why.
func (d *Detail) missing(out []entry, in *api.Instance) []entry {
	c := in.Capabilities
	t := d.e.Theme
	var whys []string
	verbs := map[string][]string{} // those that lack for the same reason
	for _, x := range []struct {
		has  bool
		name string
		verb string
	}{{c.Start, "start", "start"}, {c.Stop, "stop", "stop"}, {c.Restart, "restart", "restart"}, {c.Delete || in.Adopted,
		"delete", "delete"}, {c.Exec, "exec", "shell"}, {c.Console, "console", "console"}} {
		if x.has {
			continue
		}
		why := c.Why[x.name]
		if why == "" {
			why = "its backend has no such thing"
		}
		if verbs[why] == nil {
			whys = append(whys, why)
		}
		verbs[why] = append(verbs[why], x.verb)
	}
	for i, why := range whys {
		if i == 0 {
			out = append(out, entry{part: partEvents, head: true, label: "Not possible here"})
		}
		out = append(out, entry{part: partEvents, label: "reason", glyph: t.Cross, gs: t.Dim, value: strings.Join(verbs[why], ", ") +
			": " + why, st: t.Dim, wrap: true, copy: why})
	}
	return out
}

// maxRecent is how many events are listed.
const maxRecent = 8

// recent lists the last events.
func (d *Detail) recent(out []entry, r *data.Row) []entry {
	t := d.e.Theme
	var evs []api.Event
	seen := map[int64]bool{}
	op := ""
	if o := d.e.Store.Op(r.ID); o != nil { // its steps are listed above
		op = o.ID
	}
	for _, list := range [][]api.Event{d.e.Store.Events(), d.past} {
		for i := len(list) - 1; i >= 0 && len(evs) < 4*maxRecent; i-- {
			if ev := list[i]; (ev.InstanceID == r.ID || ev.InstanceID == "" && ev.Instance == r.Name) && !seen[ev.Seq] &&
				(op == "" || ev.OperationID != op) {
				seen[ev.Seq] = true
				evs = append(evs, ev)
			}
		}
	}
	slices.SortFunc(evs, func(a, b api.Event) int { return int(b.Seq - a.Seq) })
	for i, ev := range evs[:min(len(evs), maxRecent)] {
		if i == 0 {
			out = append(out, entry{part: partEvents, head: true, label: "Lately"})
		}
		out = append(out, entry{part: partEvents, label: "event", glyph: fmt.Sprintf("%3s", d.e.Age(ev.Time)), gs: t.Dim,
			value: ev.Message, st: t.Level(ev.Level), wrap: true, copy: ev.Message})
	}
	return out
}

func idle(s string) string {
	if s == "now" {
		return "for less than a minute"
	}
	return "for " + s
}

func ago(s string) string {
	if s == "now" {
		return "just now"
	}
	return s + " ago"
}

func positive(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04 MST")
}

// length writes how long something took.
func length(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	}
	return d.Round(time.Second).String()
}

func gpus(gs []api.GPU) string {
	if len(gs) == 0 {
		return ""
	}
	s := money.GPUs(gs)
	if gs[0].MemoryBytes > 0 {
		word := " each"
		if gs[0].Unified {
			word = ", unified with the host's"
		}
		s += ", " + money.Bytes(gs[0].MemoryBytes) + word
	}
	return s
}

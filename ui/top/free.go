package top

import (
	"fmt"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/dustin/go-humanize/english"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/gpu"
	"berth/ui/action"
	"berth/ui/dialog"
	"berth/ui/key"
	"berth/ui/money"
	"berth/ui/screen"
)

// gpuAt is the GPU that an item is about, or nil.
func (s *Top) gpuAt(k item) *gpu.GPU {
	if s.sample == nil || k.kind != gpuItem || k.index >= len(s.sample.GPUs) {
		return nil
	}
	return &s.sample.GPUs[k.index]
}

// endKey is the key that ends what is under the cursor: a process, or all that keeps a GPU.
func (s *Top) endKey(k item, noProcess string) key.Binding {
	if g := s.gpuAt(k); g != nil {
		return key.Binding{Keys: []string{"x"}, Label: "release", Group: "Processes",
			Desc: "End what keeps the GPU and is of no job; asks first.", Why: s.cantFree(g), Do: func() tea.Cmd { return s.free(g) }}
	}
	return key.Binding{Keys: []string{"x"}, Label: "signal", Group: "Processes",
		Desc: "Send a signal to the process; asks first.", Why: noProcess, Do: s.signal}
}

// cantFree says why a GPU can't be freed, or "".
func (s *Top) cantFree(g *gpu.GPU) string {
	_, why := s.agent()
	switch {
	case s.e.ReadOnly:
		return action.ReadOnly
	case why != "":
		return why
	case len(s.freeable(g)) > 0:
		return ""
	case len(g.Held) > 0:
		return fmt.Sprintf("GPU %d: %s has it; end it in the queue (Q)", g.Index, g.Held[0])
	}
	return fmt.Sprintf("GPU %d: no process of %s uses it", g.Index, s.user())
}

// freeable are the processes on a GPU that may be asked to end so that it becomes free: those of Berth's user there
// that no job has.
func (s *Top) freeable(g *gpu.GPU) (out []gpu.Process) {
	seen := map[int]bool{}
	for _, p := range s.sample.Processes {
		if p.GPUIndex == nil || *p.GPUIndex != g.Index || p.GPUKind == "graphics" || p.PID <= 1 || seen[p.PID] ||
			p.Owner.Kind == "job" || p.Owner.Kind == "agent" || s.foreign(&p) {
			continue
		}
		seen[p.PID] = true
		out = append(out, p)
	}
	return out
}

// free asks whether the processes on a GPU that may end are to end, and asks them to.
func (s *Top) free(g *gpu.GPU) tea.Cmd {
	list := s.freeable(g)
	c := &dialog.Confirm{Title: fmt.Sprintf("Free GPU %d?", g.Index),
		Verb: "End " + english.Plural(len(list), "process", "processes"),
		Text: "Asked to end (TERM), and so give its memory back:"}
	for i := range list {
		p := &list[i]
		line := fmt.Sprintf("%d %s (%s)", p.PID, plaintext.Short(p.Command, 50), owner(p))
		if p.GPUMemory != nil {
			line += ", " + bytesOf(p.GPUMemory) + " of its memory"
		}
		c.Lost = append(c.Lost, line)
	}
	for _, h := range g.Held {
		c.Kept = append(c.Kept, h.String()+" goes on")
	}
	for i := range s.sample.Processes {
		if p := &s.sample.Processes[i]; p.GPUIndex != nil && *p.GPUIndex == g.Index && s.foreign(p) {
			c.Kept = append(c.Kept, fmt.Sprintf("%d of %s goes on", p.PID, p.User))
		}
	}
	index := g.Index
	c.Do = func() tea.Msg {
		a, why := s.agent()
		if a == nil {
			return screen.Toast{Level: "warn", Text: why}
		}
		for _, p := range list {
			if err := a.SignalProcess(s.ctx, p.PID, api.SignalRequest{Signal: "TERM", StartedAt: p.StartedAt}); err != nil {
				return signalledMsg{s, p.PID, "TERM", err}
			}
		}
		return screen.Toast{Level: "info",
			Text: fmt.Sprintf("%s on GPU %d was asked to end", english.Plural(len(list), "process", "processes"), index)}
	}
	return s.e.Send(screen.Show{Dialog: c})
}

// useFacts says who has a GPU by a queue, with what is kept for each beside what is really used, and who is next.
func (s *Top) useFacts(f *factList, indent string, u *gpu.Use) {
	for _, h := range u.Held {
		what := h.String()
		if h.Reserved > 0 {
			what += ", " + money.Bytes(h.Reserved) + " of its memory kept"
		}
		f.add(indent+"given to", what)
	}
	if u.Next != nil {
		f.add(indent+"next in line", u.Next.String())
	}
}

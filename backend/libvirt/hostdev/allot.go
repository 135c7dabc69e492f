package hostdev

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"berth/backend/api"
)

// Taken says which devices machines have: GPU.ID of a PCI or mediated device, or the address of a function
// that went along, → the machine's name.
type Taken map[string]string

// Status is how things stand with a GPU.
type Status struct {
	Free   bool
	Holder string // the machine that has it
	Why    string // for people, where it is not free: "held by vision", "the host uses it (driver nvidia)"
}

// Status says whether a GPU can be given to a machine now. named are devices (any form that Normalize
// knows) that may be taken although the host uses them.
func (h Host) Status(g GPU, taken Taken, named []string) Status {
	if who, ok := taken[g.ID]; ok {
		return Status{Holder: who, Why: "held by " + who}
	}
	for _, f := range g.Functions {
		if who, ok := taken[f.Address]; ok {
			return Status{Holder: who, Why: fmt.Sprintf("its function %s is held by %s", f.Address, who)}
		}
	}
	if who, ok := taken[g.Parent]; ok {
		return Status{Holder: who, Why: fmt.Sprintf("the GPU %s, of which it is a part, is held by %s", g.Parent, who)}
	}
	parts := 0
	for _, o := range h.GPUs {
		if o.Parent != g.ID {
			continue
		}
		if who, ok := taken[o.ID]; ok {
			return Status{Holder: who, Why: fmt.Sprintf("its part %s is held by %s", o.ID, who)}
		}
		parts++
	}
	for _, f := range g.Shared {
		if who, ok := taken[f.Address]; ok {
			return Status{Holder: who, Why: fmt.Sprintf("%s of the same IOMMU group is held by %s", f.Address, who)}
		}
	}
	if why := h.hindrance(g, parts, named); why != "" {
		return Status{Why: why}
	}
	return Status{Free: true}
}

// hindrance says why a GPU that no machine has can't be given to one.
func (h Host) hindrance(g GPU, parts int, named []string) string {
	if g.Mediated {
		return ""
	}
	ok := func(id string) bool {
		return slices.ContainsFunc(named, func(s string) bool { n, valid := Normalize(s); return valid && n == id })
	}
	switch {
	case g.Group < 0 && !h.IOMMU:
		return "the IOMMU is off"
	case g.Group < 0:
		return "it is in no IOMMU group"
	case parts > 0:
		return "it is divided into parts"
	case g.BootVGA && !ok(g.ID):
		return "it draws the host's screen"
	case g.Driver != "" && !reserved(g.Driver) && !ok(g.ID):
		return "the host uses it (driver " + g.Driver + ")"
	}
	for _, f := range g.Functions {
		if f.Driver != "" && !reserved(f.Driver) && !ok(g.ID) && !ok(f.Address) {
			return fmt.Sprintf("the host uses its function %s (driver %s)", f.Address, f.Driver)
		}
	}
	for _, f := range g.Shared {
		if f.Driver != "" && !reserved(f.Driver) && !ok(f.Address) {
			return fmt.Sprintf("its IOMMU group %d has %s too, which the host uses (driver %s)", g.Group, f.describe(), f.Driver)
		}
	}
	return ""
}

func (f Function) describe() string {
	if f.Name == "" {
		return f.Address
	}
	return fmt.Sprintf("%s (%s)", f.Address, f.Name)
}

// Matches reports whether the GPU is of a kind, in any case: whole words of a GPU's name ("A100", not "A10"),
// or the full name or type of a mediated device ("A100-10C", "nvidia-474"). An empty kind is every whole GPU.
func (g GPU) Matches(kind string) bool {
	kind = strings.ToLower(strings.Join(strings.Fields(kind), " "))
	name := strings.ToLower(g.Name)
	if g.Mediated {
		_, short, _ := strings.Cut(name, " ")
		return kind != "" && (kind == name || kind == short || kind == strings.ToLower(g.MDevType))
	}
	return kind == "" || strings.Contains(" "+name+" ", " "+kind+" ")
}

// Free returns the GPUs of a kind that can be given to a machine now.
func (h Host) Free(kind string, taken Taken, named []string) []GPU {
	var out []GPU
	for _, g := range h.GPUs {
		if g.Matches(kind) && h.Status(g, taken, named).Free {
			out = append(out, g)
		}
	}
	return out
}

// Allot picks n free GPUs of a kind for one machine: all of one model, of one NUMA node if that can be.
// An error is of the code capacity: the host has not so many, or they are held or used; it says by whom.
func (h Host) Allot(n int, kind string, taken Taken, named []string) ([]GPU, error) {
	if n <= 0 {
		return nil, nil
	}
	models := map[string][]GPU{}
	for _, g := range h.Free(kind, taken, named) {
		models[g.Name] = append(models[g.Name], g)
	}
	var best []GPU
	for _, gs := range models {
		if len(gs) < n {
			continue
		}
		if pick := near(gs, n); best == nil || better(pick, best) {
			best = pick
		}
	}
	if best != nil {
		return best, nil
	}
	return nil, h.cannot(n, kind, taken, named)
}

// near picks n of equal GPUs: from the NUMA node with the fewest that suffice, so that larger sets stay
// whole; else from the nodes with the most.
func near(gs []GPU, n int) []GPU {
	nodes := map[int][]GPU{}
	for _, g := range gs {
		nodes[g.NUMA] = append(nodes[g.NUMA], g)
	}
	order := make([][]GPU, 0, len(nodes))
	for _, l := range nodes {
		slices.SortFunc(l, func(a, b GPU) int { return cmp.Compare(a.ID, b.ID) })
		order = append(order, l)
	}
	slices.SortFunc(order, func(a, b []GPU) int {
		fitA, fitB := len(a) >= n, len(b) >= n
		switch {
		case fitA != fitB:
			return map[bool]int{true: -1, false: 1}[fitA]
		case fitA:
			return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a[0].ID, b[0].ID))
		}
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a[0].ID, b[0].ID))
	})
	return slices.Concat(order...)[:n]
}

// better orders picks of different models: on fewer NUMA nodes, whole GPUs, then by id.
func better(a, b []GPU) bool {
	nodes := func(gs []GPU) int {
		m := map[int]bool{}
		for _, g := range gs {
			m[g.NUMA] = true
		}
		return len(m)
	}
	part := map[bool]int{true: 1}
	return cmp.Or(cmp.Compare(nodes(a), nodes(b)), cmp.Compare(part[a[0].Mediated], part[b[0].Mediated]),
		cmp.Compare(a[0].ID, b[0].ID)) < 0
}

func (h Host) cannot(n int, kind string, taken Taken, named []string) error {
	what := "GPU"
	if kind != "" {
		what = fmt.Sprintf("GPU of the kind %q", kind)
	}
	var lines []string
	free, all := 0, 0
	for _, g := range h.GPUs {
		if !g.Matches(kind) {
			continue
		}
		all++
		st := h.Status(g, taken, named)
		if st.Free {
			free++
			st.Why = "free"
		}
		lines = append(lines, fmt.Sprintf("%s %s: %s", g.ID, g.Name, st.Why))
	}
	if all < n {
		msg := fmt.Sprintf("%d × %s: the host has %d", n, what, all)
		if len(lines) > 0 {
			msg += " (" + strings.Join(lines, "; ") + ")"
		}
		return api.Errorf(api.CodeCapacity, "%s", msg).WithHint("berth doctor says what the host has and what it lacks")
	}
	msg := fmt.Sprintf("%d × %s: %d of %d free", n, what, free, all)
	if free >= n {
		msg += ", but they are of different models"
	}
	return api.Errorf(api.CodeCapacity, "%s (%s)", msg, strings.Join(lines, "; ")).
		WithHint("stop a machine that holds one; for those that the host uses, berth doctor says what to do")
}

package software

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"berth/backend/api"
)

// Row is one line of inventories side by side.
type Row struct {
	Section string
	Name    string   // for people
	Values  []string // of each inventory; "" is not there, "?" of an unknown version
	Drift   []*api.Drift
	Differs bool // the inventories are not the same here
}

// Drifts reports whether a promise is not kept here.
func (r *Row) Drifts() bool {
	return slices.ContainsFunc(r.Drift, func(d *api.Drift) bool { return d != nil })
}

// DriftText says what a drift is: "cuda promises 12.6".
func DriftText(d *api.Drift) string {
	if d.Promised == "" {
		return d.Profile + " promises it"
	}
	return d.Profile + " promises " + d.Promised
}

// table collects rows by section and name, in the order in which they come first.
type table struct {
	n    int
	rows []*Row
	at   map[[2]string]*Row
}

func (t *table) set(i int, section, name, value string) *Row {
	k := [2]string{section, name}
	r := t.at[k]
	if r == nil {
		r = &Row{Section: section, Name: name, Values: make([]string, t.n), Drift: make([]*api.Drift, t.n)}
		t.at[k] = r
		t.rows = append(t.rows, r)
	}
	switch {
	case value == "" || value == r.Values[i]:
	case r.Values[i] == "":
		r.Values[i] = value
	default:
		r.Values[i] += ", " + value
	}
	return r
}

// Rows lays inventories side by side: system, components, environments with their packages, kernels. What is
// promised and not there has a row too.
func Rows(invs ...*api.Inventory) []Row {
	t := &table{n: len(invs), at: map[[2]string]*Row{}}
	for i, inv := range invs {
		t.set(i, "System", "system", inv.System)
		t.set(i, "System", "kernel", inv.Kernel)
		t.set(i, "System", "architecture", inv.Arch)
	}
	for _, name := range componentOrder(invs) {
		for i, inv := range invs {
			for _, c := range inv.Components {
				if c.Name == name {
					t.set(i, "Components", cmp.Or(c.Title, c.Name), cmp.Or(c.Version, "?"))
				}
			}
			for j := range inv.Drift {
				if d := &inv.Drift[j]; d.Component == name && !packages[name] && !strings.HasPrefix(name, KernelPrefix) {
					r := t.set(i, "Components", cmp.Or(titles[name], name), "")
					r.Drift[i] = d
				}
			}
		}
	}
	t.environments("conda ", func(inv *api.Inventory) []api.Conda { return inv.Conda }, invs)
	t.environments("Python ", func(inv *api.Inventory) []api.Conda { return inv.Python }, invs)
	t.promisedPackages(invs)
	t.kernels(invs)
	out := make([]Row, 0, len(t.rows))
	for _, r := range t.rows {
		for _, v := range r.Values[1:] {
			r.Differs = r.Differs || v != r.Values[0]
		}
		out = append(out, *r)
	}
	return out
}

func componentOrder(invs []*api.Inventory) []string {
	var names []string
	add := func(n string) {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for _, inv := range invs {
		for _, c := range inv.Components {
			add(c.Name)
		}
		for _, d := range inv.Drift {
			add(d.Component)
		}
	}
	return names
}

func (t *table) environments(kind string, of func(*api.Inventory) []api.Conda, invs []*api.Inventory) {
	var names []string
	for _, inv := range invs {
		for _, e := range of(inv) {
			if !slices.Contains(names, e.Name) {
				names = append(names, e.Name)
			}
		}
	}
	for _, name := range names {
		section := kind + name
		for i, inv := range invs {
			for _, e := range of(inv) {
				if e.Name == name {
					t.set(i, section, "Python", cmp.Or(e.Python, "?"))
				}
			}
		}
		for i, inv := range invs {
			for _, e := range of(inv) {
				if e.Name != name {
					continue
				}
				for _, p := range slices.Sorted(maps.Keys(e.Packages)) {
					t.set(i, section, p, cmp.Or(e.Packages[p], "?"))
				}
			}
		}
	}
}

// promisedPackages marks the packages in which an inventory drifts: where they are, or in a section of
// their own.
func (t *table) promisedPackages(invs []*api.Inventory) {
	for i, inv := range invs {
		for j := range inv.Drift {
			d := &inv.Drift[j]
			if !packages[d.Component] {
				continue
			}
			marked := false
			for _, r := range t.rows {
				if r.Name == d.Component && r.Values[i] != "" && (strings.HasPrefix(r.Section, "conda ") ||
					strings.HasPrefix(r.Section, "Python ")) {
					r.Drift[i], marked = d, true
				}
			}
			if !marked {
				t.set(i, "Promised packages", d.Component, "").Drift[i] = d
			}
		}
	}
}

func (t *table) kernels(invs []*api.Inventory) {
	for i, inv := range invs {
		for _, k := range inv.Kernels {
			t.set(i, "Jupyter kernels", k.Name, cmp.Or(k.Title, k.Language, "?"))
		}
		for j := range inv.Drift {
			if name, ok := strings.CutPrefix(inv.Drift[j].Component, KernelPrefix); ok {
				t.set(i, "Jupyter kernels", name, "").Drift[i] = &inv.Drift[j]
			}
		}
	}
}

package software

import (
	"slices"
	"strings"

	"berth/backend/api"
)

// UnreadPackages stands in Unread for the packages of all environments.
const UnreadPackages = "packages"

// notRead reports whether a component may be there without the inventory's knowing.
func notRead(inv *api.Inventory, component string) bool {
	return slices.ContainsFunc(inv.Unread, func(u string) bool {
		return u == component || u == KernelPrefix && strings.HasPrefix(component, KernelPrefix) ||
			u == UnreadPackages && packages[component]
	})
}

// Compare returns the promises that an inventory does not keep, in their order; each once. What could not be read
// is not missing.
func Compare(inv *api.Inventory, promises []api.Promise) []api.Drift {
	out := []api.Drift{}
	for _, p := range promises {
		found := Versions(inv, p.Component)
		d := api.Drift{Component: p.Component, Promised: p.Version, Profile: p.Profile}
		switch {
		case len(found) == 0 && notRead(inv, p.Component):
			continue
		case len(found) == 0:
			d.Kind = "missing"
		case !slices.ContainsFunc(found, func(v string) bool { return Keeps(v, p.Version) }):
			d.Kind, d.Found = "version", strings.Join(found, ", ")
		default:
			continue
		}
		if !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

// Keeps reports whether a version is the promised one: the same, or a more precise one. Any version keeps
// an empty promise; an unknown one keeps no other.
func Keeps(version, promised string) bool {
	if promised == "" || version == promised {
		return true
	}
	rest, ok := strings.CutPrefix(version, promised)
	return ok && strings.IndexByte(".-+_", rest[0]) >= 0
}

// Versions are those in which a component is there, each once; "" where it does not say. Empty: it is not
// there.
func Versions(inv *api.Inventory, name string) []string {
	var out []string
	add := func(v string) {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	if k, ok := strings.CutPrefix(name, KernelPrefix); ok {
		for _, s := range inv.Kernels {
			if strings.EqualFold(s.Name, k) {
				add("")
			}
		}
		return out
	}
	for _, c := range inv.Components {
		if c.Name == name {
			add(c.Version)
		}
	}
	for _, envs := range [][]api.Conda{inv.Conda, inv.Python} {
		for _, e := range envs {
			if v, ok := e.Packages[name]; ok {
				add(v)
			}
		}
	}
	return out
}

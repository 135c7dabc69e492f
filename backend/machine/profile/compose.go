package profile

import (
	"fmt"
	"slices"
	"strings"

	"berth/backend/api"
)

// Facts is what is known of the machine; empty fields are not, and are looked at when the steps run.
type Facts struct {
	Arch    string // as Go names it: amd64
	Release string // ID-VERSION of os-release: debian-12
}

// Composed is what profiles come to.
type Composed struct {
	Profiles []string        // all that take part, in order
	Steps    []api.SetupStep // for a plan
	Promises []api.Promise
	Prelude  string // of the plan
	Reboots  bool   // the machine restarts in the middle
}

// Plan is a plan of the steps.
func (c *Composed) Plan(id string, mayReboot bool) api.SetupPlan {
	return api.SetupPlan{ID: id, Steps: c.Steps, Prelude: c.Prelude, MayReboot: mayReboot}
}

// choice is one word of --profile.
type choice struct {
	name, variable, value string
}

// parseChoice reads NAME, NAME=VALUE (of the variable version) or NAME:VARIABLE=VALUE.
func parseChoice(s string) (choice, error) {
	left, value, set := strings.Cut(strings.TrimSpace(s), "=")
	name, variable, named := strings.Cut(left, ":")
	c := choice{name: name}
	if set {
		if c.variable, c.value = "version", value; named {
			c.variable = variable
		}
	}
	if !plainWord(name) || named && !set || set && (!plainWord(c.variable) || !plainValue(value)) {
		return c, api.Errorf(api.CodeUsage, "%.60q is no set-up profile", s).
			WithHint("write it as NAME, NAME=VERSION or NAME:VARIABLE=VALUE; berth profile ls lists them")
	}
	return c, nil
}

// plainValue reports whether s may be the value of a variable: a word that no shell minds.
func plainValue(s string) bool {
	return s != "" && len(s) <= 128 && strings.Trim(s,
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-") == ""
}

// Compose returns the steps of the named profiles and of those that they need, each profile once, after
// those that it needs, else in the order of the names. A name may set a variable: "cuda=12.4",
// "conda:env=ml".
func (s *Set) Compose(names []string, f Facts) (Composed, error) {
	out := Composed{Prelude: s.prelude}
	values := map[string]map[string]string{} // profile → variable → value
	var roots []string
	for _, n := range names {
		c, err := parseChoice(n)
		if err != nil {
			return out, err
		}
		roots = append(roots, c.name)
		if c.variable == "" {
			continue
		}
		if was, ok := values[c.name][c.variable]; ok && was != c.value {
			return out, api.Errorf(api.CodeUsage, "the set-up profile %s is wanted with two values of %s: %s and %s", c.name,
				c.variable, was, c.value)
		}
		if values[c.name] == nil {
			values[c.name] = map[string]string{}
		}
		values[c.name][c.variable] = c.value
	}
	order, err := s.order(roots)
	if err != nil {
		return out, err
	}
	for _, p := range order {
		for _, c := range p.Conflicts {
			if slices.ContainsFunc(order, func(q *source) bool { return q.Name == c }) {
				return out, api.Errorf(api.CodeUsage, "the set-up profiles %s and %s exclude each other%s", p.Name, c,
					whence(order, roots, p.Name, c))
			}
		}
		if err := p.fits(f); err != nil {
			return out, err
		}
		vars, err := p.variables(values[p.Name])
		if err != nil {
			return out, err
		}
		out.Profiles = append(out.Profiles, p.Name)
		out.add(p, vars)
	}
	return out, checkDriver(out.Promises)
}

// order sorts profiles so that each comes after those that it needs.
func (s *Set) order(roots []string) ([]*source, error) {
	var out []*source
	const under, done = 1, 2
	state := map[string]int{}
	var visit func(name string, path []string) error
	visit = func(name string, path []string) error {
		switch state[name] {
		case done:
			return nil
		case under:
			i := slices.Index(path, name)
			return api.Errorf(api.CodeUsage, "set-up profiles need each other in a circle: %s",
				strings.Join(append(slices.Clone(path[i:]), name), " → "))
		}
		p, err := s.find(name)
		if err != nil {
			if len(path) > 0 {
				e := api.AsError(err)
				return api.Errorf(e.Code, "%s, which %s needs", e.Message, path[len(path)-1]).WithHint("%s", e.Hint)
			}
			return err
		}
		state[name] = under
		path = append(slices.Clone(path), name)
		for _, n := range p.Needs {
			if err := visit(n, path); err != nil {
				return err
			}
		}
		state[name] = done
		out = append(out, p)
		return nil
	}
	for _, r := range roots {
		if err := visit(r, nil); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// whence says who brought in two profiles that exclude each other, where nobody named them.
func whence(order []*source, roots []string, names ...string) string {
	var out []string
	for _, n := range names {
		if slices.Contains(roots, n) {
			continue
		}
		for _, p := range order {
			if slices.Contains(p.Needs, n) {
				out = append(out, fmt.Sprintf("%s needs %s", p.Name, n))
				break
			}
		}
	}
	if len(out) == 0 {
		return ""
	}
	return " (" + strings.Join(out, ", ") + ")"
}

// fits says why a profile is not for a machine.
func (p *source) fits(f Facts) error {
	if f.Arch != "" && len(p.Arch) > 0 && !slices.Contains(p.Arch, f.Arch) {
		return api.Errorf(api.CodeUnsupported, "the set-up profile %s is for %s; the machine is %s", p.Name,
			strings.Join(p.Arch, ", "), f.Arch)
	}
	id, _, _ := strings.Cut(f.Release, "-")
	if f.Release != "" && len(p.OS) > 0 && !slices.Contains(p.OS, f.Release) && !slices.Contains(p.OS, id) {
		return api.Errorf(api.CodeUnsupported, "the set-up profile %s is for %s; the machine runs %s", p.Name,
			strings.Join(p.OS, ", "), f.Release)
	}
	return nil
}

// variables completes and checks the values of a profile's variables.
func (p *source) variables(set map[string]string) (map[string]string, error) {
	out := map[string]string{}
	for _, v := range p.Variables {
		value, ok := set[v.Name]
		switch {
		case !ok && v.Required:
			return nil, api.Errorf(api.CodeUsage, "the set-up profile %s needs a value: %s", p.Name, v.Help).
				WithHint("give it as %s", p.setting(v.Name, strings.ToUpper(v.Name)))
		case !ok:
			value = v.Default
		case len(v.Values) > 0 && !slices.Contains(v.Values, value):
			return nil, api.Errorf(api.CodeUsage, "the set-up profile %s has no %s %s; there are %s", p.Name, v.Name, value,
				strings.Join(v.Values, ", "))
		}
		out[v.Name] = value
	}
	for k := range set {
		if _, ok := out[k]; !ok {
			return nil, api.Errorf(api.CodeUsage, "the set-up profile %s has no variable %s", p.Name, k).
				WithHint("berth profile show %s", p.Name)
		}
	}
	return out, nil
}

func (p *source) setting(variable, value string) string {
	if variable == "version" {
		return p.Name + "=" + value
	}
	return p.Name + ":" + variable + "=" + value
}

// envName is how a step has a variable: PROFILE_VARIABLE in capitals.
func envName(profile, variable string) string {
	return strings.ToUpper(strings.ReplaceAll(profile+"_"+variable, "-", "_"))
}

// add appends a profile's steps and promises.
func (c *Composed) add(p *source, vars map[string]string) {
	var env []string
	replace := []string{}
	for _, v := range p.Variables {
		env = append(env, envName(p.Name, v.Name)+"="+vars[v.Name])
		replace = append(replace, "{"+v.Name+"}", vars[v.Name])
	}
	fill := strings.NewReplacer(replace...).Replace
	head := fmt.Sprintf("only_on '%s' '%s'\n", strings.Join(p.Arch, " "), strings.Join(p.OS, " "))
	for i := range p.Steps {
		st := p.step(i)
		st.Title, st.Env, st.Prelude = fill(st.Title), env, true
		st.Script = head + st.Script
		if st.Check != "" {
			st.Check = head + st.Check
		}
		c.Reboots = c.Reboots || st.Reboot
		c.Steps = append(c.Steps, st)
	}
	for _, e := range p.Promises {
		c.Promises = append(c.Promises, api.Promise{Component: fill(e.Component), Version: fill(e.Version), Profile: p.Name})
	}
}

package queue

import (
	"strings"
	"testing"
)

// FuzzParseAfter: what is read is written as something that is read again as the same.
func FuzzParseAfter(f *testing.F) {
	for _, s := range []string{"12", "12,13_2", "any:12,12", "any:", ",", "failure:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ds, err := ParseAfter(s)
		if err != nil {
			return
		}
		if len(ds) == 0 || len(ds) > MaxAfter {
			t.Fatalf("%q is %d jobs", s, len(ds))
		}
		for _, d := range ds {
			again, err := ParseAfter(d.String())
			if err != nil || len(again) != 1 || again[0] != d {
				t.Fatalf("%q: %s is read as %v (%v)", s, d, again, err)
			}
		}
	})
}

// FuzzSweep: parameters that may be are filled in for each of their elements.
func FuzzSweep(f *testing.F) {
	f.Add("lr=0.1,0.01", "batch,name\n8,a\n16,\"b,c\"\n")
	f.Add("x=", "\ufeffa\n\"\"\n")
	f.Add("x=\"a", "a,a\n1\n")
	f.Add("é=1", "a\n1\n\n2\n")
	f.Fuzz(func(t *testing.T, param, file string) {
		var s Sweep
		if a, err := ParseParam(param); err == nil {
			if len(a.Names) != 1 || len(a.Rows) == 0 {
				t.Fatalf("%q is %d names and %d rows", param, len(a.Names), len(a.Rows))
			}
			s.Axes = append(s.Axes, a)
		}
		if a, err := ReadParams(strings.NewReader(file)); err == nil {
			s.Axes = append(s.Axes, a)
		}
		if len(s.Axes) == 0 || s.check() != nil {
			return
		}
		spec := Spec{Argv: []string{"run", "{" + s.Axes[0].Names[0] + "}"}, Sweep: &s}
		for _, i := range []int{0, s.Len() - 1} {
			el := spec.Of(ID{Number: 1, Index: i, Element: true})
			values := s.At(i)
			if el.Argv[1] != values[0].Value || len(el.Env) != len(values) {
				t.Fatalf("element %d has %q and %q of %v", i, el.Argv, el.Env, values)
			}
		}
	})
}

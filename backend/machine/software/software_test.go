package software

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"berth/backend/api"
)

func TestKeepingAVersion(t *testing.T) {
	for _, c := range []struct {
		version, promised string
		keeps             bool
	}{{"12.6.3", "12.6", true}, {"12.61", "12.6", false}, {"12.6", "12.6", true}, {"12", "12.6", false}, {"", "1", false},
		{"", "", true}, {"2.6.0+cu124", "2.6.0", true}} {
		require.Equal(t, c.keeps, Keeps(c.version, c.promised), "%+v", c)
	}
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.StringMatching(`[0-9]{1,3}(\.[0-9]{1,3}){0,3}`).Draw(t, "version")
		more := v + rapid.SampledFrom([]string{".", "-", "+"}).Draw(t, "sep") + rapid.StringMatching(`[0-9a-z]{1,5}`).Draw(t,
			"more")
		if !Keeps(v, v) || !Keeps(more, v) || Keeps(v, more) || Keeps(v+"0", v) {
			t.Fatalf("%s and %s", v, more)
		}
	})
}

func TestRowsSideBySide(t *testing.T) {
	a := api.Inventory{System: "Debian 12", Kernel: "6.1", Arch: "amd64",
		Components: []api.Component{{Name: "cuda", Title: "CUDA toolkit", Version: "11.8"},
			{Name: "cuda", Title: "CUDA toolkit", Version: "12.4"}, {Name: "git", Title: "git"}},
		Conda:   []api.Conda{{Name: "pt", Python: "3.11", Packages: map[string]string{"torch": "2.5.1", "numpy": "1.26"}}},
		Kernels: []api.KernelSpec{{Name: "ir", Title: "R"}},
		Drift: []api.Drift{{Component: "nginx", Kind: "missing", Profile: "nginx"}, {Component: "torch", Kind: "version",
			Promised: "2.6", Found: "2.5.1", Profile: "pytorch"},
			{Component: "tensorflow", Kind: "missing", Promised: "2.18", Profile: "tf"}, {Component: "kernel:julia",
				Kind: "missing", Profile: "j"}}}
	b := api.Inventory{System: "Debian 12", Kernel: "6.5", Arch: "amd64", Conda: []api.Conda{{Name: "pt", Python: "3.11",
		Packages: map[string]string{"torch": "2.6.0"}}}}
	var got []string
	for _, r := range Rows(&a, &b) {
		mark := ""
		if r.Differs {
			mark += " differs"
		}
		if r.Drifts() {
			mark += " ! " + DriftText(r.Drift[0])
		}
		got = append(got, r.Section+" | "+r.Name+" | "+strings.Join(r.Values, " | ")+mark)
	}
	require.Equal(t, []string{
		"System | system | Debian 12 | Debian 12", "System | kernel | 6.1 | 6.5 differs",
		"System | architecture | amd64 | amd64",
		"Components | CUDA toolkit | 11.8, 12.4 |  differs", "Components | git | ? |  differs",
		"Components | Nginx |  |  ! nginx promises it",
		"conda pt | Python | 3.11 | 3.11", "conda pt | numpy | 1.26 |  differs",
		"conda pt | torch | 2.5.1 | 2.6.0 differs ! pytorch promises 2.6",
		"Promised packages | tensorflow |  |  ! tf promises 2.18",
		"Jupyter kernels | ir | R |  differs", "Jupyter kernels | julia |  |  ! j promises it"}, got)
	require.False(t, Rows(&a)[1].Differs)
}

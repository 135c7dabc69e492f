package queue

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSweep(t *testing.T) {
	lr, err := ParseParam(`lr=0.1,"a,b",`)
	require.NoError(t, err)
	require.Equal(t, Axis{Names: []string{"lr"}, Rows: [][]string{{"0.1"}, {"a,b"}, {""}}}, lr)
	file, err := ReadParams(strings.NewReader("\ufeffbatch,seed\n16,1\n32,2\n"))
	require.NoError(t, err)
	require.Equal(t, Axis{Names: []string{"batch", "seed"}, Rows: [][]string{{"16", "1"}, {"32", "2"}}}, file)

	s := Sweep{Axes: []Axis{lr, file}}
	require.Equal(t, 6, s.Len())
	require.Equal(t, []Value{{"lr", "0.1"}, {"batch", "16"}, {"seed", "1"}}, s.At(0))
	require.Equal(t, []Value{{"lr", "0.1"}, {"batch", "32"}, {"seed", "2"}}, s.At(1))
	require.Equal(t, []Value{{"lr", ""}, {"batch", "32"}, {"seed", "2"}}, s.At(5))

	spec := Spec{Argv: []string{"python", "--lr={lr}", "{batch}{other}"}, Env: []string{"A=1"}, Sweep: &s}
	got := spec.Of(ID{Number: 1}.At(2))
	require.Equal(t, []string{"python", "--lr=a,b", "16{other}"}, got.Argv)
	require.Equal(t, []string{"A=1", "BERTH_PARAM_LR=a,b", "BERTH_PARAM_BATCH=16", "BERTH_PARAM_SEED=1"}, got.Env)
	require.Equal(t, "--lr={lr}", spec.Argv[1], "the array keeps its own")
	require.Equal(t, spec, spec.Of(ID{Number: 1}))
}

func TestAValueIsNotFilledInItself(t *testing.T) {
	s := Sweep{Axes: []Axis{{Names: []string{"a"}, Rows: [][]string{{"{b}"}}}, {Names: []string{"b"}, Rows: [][]string{{"{a}"}}}}}
	got := Spec{Argv: []string{"{a}{b}"}, Sweep: &s}.Of(ID{Number: 1}.At(0))
	require.Equal(t, []string{"{b}{a}"}, got.Argv)
}

func TestWrongParams(t *testing.T) {
	for _, s := range []string{"lr", "lr=a\"b", "lr=1\n2", `lr="x`} {
		_, err := ParseParam(s)
		require.Error(t, err, s)
	}
	for _, s := range []string{"", "a,b\n", "a,b\n1\n", "a\n\"x\n"} {
		_, err := ReadParams(strings.NewReader(s))
		require.Error(t, err, s)
	}
}

func TestCheck(t *testing.T) {
	good := func() Spec {
		return Spec{Argv: []string{"true"}, Workdir: "/home/u", Timeout: time.Hour, Array: &Array{Ranges: []Range{{0, 1, 1}}},
			Notice: Notice{Signal: "USR1", Before: time.Minute}, Env: []string{"A=\xff\n"},
			Sweep: &Sweep{Axes: []Axis{{Names: []string{"lr"}, Rows: [][]string{{"1"}, {"$(x)"}}}}}}
	}
	require.NoError(t, good().Check())
	for want, wrong := range map[string]func(*Spec){
		"no command":                 func(s *Spec) { s.Argv = nil },
		"NUL":                        func(s *Spec) { s.Argv = []string{"a\x00b"} },
		"takes one argument":         func(s *Spec) { s.Shell, s.Argv = true, []string{"a", "b"} },
		"not KEY=VALUE":              func(s *Spec) { s.Env = []string{"=x"} },
		"not absolute":               func(s *Spec) { s.Workdir = "x" },
		"less than nothing":          func(s *Spec) { s.Request.GPUs = -2 },
		"at most 1048576":            func(s *Spec) { s.Argv = []string{strings.Repeat("x", MaxSpecBytes)} },
		"a priority is":              func(s *Spec) { s.Priority = MaxPriority + 1 },
		"waits for at most":          func(s *Spec) { s.After = make([]Dependency, MaxAfter+1) },
		"nothing to wait for":        func(s *Spec) { s.After = []Dependency{{ID{Number: 1}, "never"}} },
		"retries are":                func(s *Spec) { s.Retries = -1 },
		"need a number of retries":   func(s *Spec) { s.RetryOn = []Cause{ByOOM} },
		"no cause to retry on":       func(s *Spec) { s.Retries, s.RetryOn = 1, []Cause{"cancelled"} },
		"a limit of CPUs":            func(s *Spec) { s.CPUs = -1 },
		"a limit of CPUs or of":      func(s *Spec) { s.Memory = -1 },
		"below 0":                    func(s *Spec) { s.Grace = -1 },
		"either a conda":             func(s *Spec) { s.Conda, s.Venv = "a", "b" },
		"environment of its image":   func(s *Spec) { s.Image, s.Conda = "x", "a" },
		"is one container":           func(s *Spec) { s.Image, s.Ranks = "x", 2 },
		"no name of an image":        func(s *Spec) { s.Image = strings.Repeat("x", MaxImage+1) },
		"a container gets no other":  func(s *Spec) { s.Image, s.Env = "x", []string{"A=\xff"} },
		"no signal":                  func(s *Spec) { s.Notice.Signal = "usr1" },
		"needs a time-out":           func(s *Spec) { s.Timeout = 0 },
		"say less":                   func(s *Spec) { s.Notice.Before = time.Hour },
		"there is no 2":              func(s *Spec) { s.Array.Ranges[0].Last = 2 },
		"need the array":             func(s *Spec) { s.Array = nil },
		"a step is":                  func(s *Spec) { s.Array.Ranges[0].Step = 0 },
		"twice":                      func(s *Spec) { s.Sweep.Axes = append(s.Sweep.Axes, Axis{[]string{"LR"}, [][]string{{"1"}}}) },
		"no parameter's name":        func(s *Spec) { s.Sweep.Axes[0].Names[0] = "l r" },
		"has 2 values":               func(s *Spec) { s.Sweep.Axes[0].Rows[0] = []string{"1", "2"} },
		"a value with a NUL":         func(s *Spec) { s.Sweep.Axes[0].Rows[0][0] = "\x00" },
		"would be read by the shell": func(s *Spec) { s.Shell, s.Argv = true, []string{"echo {lr}"} },
		"more than 1000000 elements": func(s *Spec) {
			rows := make([][]string, 1001)
			for i := range rows {
				rows[i] = []string{"1"}
			}
			s.Sweep.Axes = []Axis{{[]string{"a"}, rows}, {[]string{"b"}, rows}}
		},
	} {
		s := good()
		wrong(&s)
		require.ErrorContains(t, s.Check(), want)
	}
	s := good()
	s.Shell, s.Argv = true, []string{`echo "$BERTH_PARAM_LR"`}
	require.NoError(t, s.Check(), "the variable is safe with any value")
}

func FuzzParseParam(f *testing.F) {
	for _, s := range []string{"lr=0.1,0.01", `k="a,b",c`, "k=", "=", "k=\n", "k=\"\n\"", "k=\r"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseParam(s)
		if err != nil {
			return
		}
		require.NotEmpty(t, a.Rows)
		for _, r := range a.Rows {
			require.Len(t, r, 1)
		}
	})
}

func FuzzReadParams(f *testing.F) {
	for _, s := range []string{"a,b\n1,2\n", "\ufeffa\n1", "a\n\"x\ny\"\n", "\n\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ReadParams(strings.NewReader(s))
		if err != nil || (Sweep{Axes: []Axis{a}}).check() != nil {
			return
		}
		s2 := Sweep{Axes: []Axis{a}}
		require.Len(t, s2.At(s2.Len()-1), len(a.Names))
	})
}

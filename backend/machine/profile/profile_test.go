package profile

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"berth/assets"
	"berth/backend/api"
)

func TestBuiltInProfilesAreClean(t *testing.T) {
	s := Load()
	require.Empty(t, s.Lint(), Format(s.Lint()))
	for _, want := range []string{"base", "nvidia-driver", "cuda", "cudnn", "nccl", "docker", "docker-nvidia", "conda",
		"pytorch", "tensorflow", "horovod", "mlflow", "onnx",
		"jupyter", "r", "rstudio", "mpi", "protobuf", "nginx", "blobfuse2", "rclone", "cloud-cli", "ml-extras", "samples"} {
		require.Contains(t, s.Names(), want)
	}
	all, err := s.Compose(append(s.Names(), "rstudio:sha256=x"), Facts{Arch: "amd64", Release: "ubuntu-22.04"})
	require.NoError(t, err)
	require.True(t, all.Reboots)
	b, err := json.MarshalIndent(all.Plan("x", true), "", "  ")
	require.NoError(t, err)
	require.Less(t, len(b), 500<<10, "all of them still fit into a plan")
}

// TestScriptsAreShell lets sh itself read every script with what stands before it.
func TestScriptsAreShell(t *testing.T) {
	s := Load()
	c, err := s.Compose(append(s.Names(), "rstudio:sha256=x"), Facts{})
	require.NoError(t, err)
	for _, st := range c.Steps {
		for _, text := range []string{st.Script, st.Check} {
			cmd := exec.Command("sh", "-n")
			cmd.Stdin = strings.NewReader(c.Prelude + "\n" + text)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s: %s", st.Name, out)
		}
	}
}

// write makes a folder of profiles.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for n, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, n), []byte(text), 0o600))
	}
	return dir
}

func one(name, more string) string {
	return fmt.Sprintf("name = %q\ntitle = \"T\"\n%s\n[[steps]]\nname = \"s\"\ntitle = \"S\"\nscript = \"true\"\n", name,
		more)
}

func TestNeedsComeFirstAndOnce(t *testing.T) {
	s := Load(write(t, map[string]string{"a.toml": one("a", `needs = ["c", "b"]`), "b.toml": one("b", `needs = ["d"]`),
		"c.toml": one("c", `needs = ["d"]`), "d.toml": one("d", "")}))
	c, err := s.Compose([]string{"b", "a", "b"}, Facts{})
	require.NoError(t, err)
	require.Equal(t, []string{"d", "b", "c", "a"}, c.Profiles)
	require.Equal(t, []string{"d.s", "b.s", "c.s", "a.s"}, stepNames(c))
}

func stepNames(c Composed) (out []string) {
	for _, s := range c.Steps {
		out = append(out, s.Name)
	}
	return out
}

func TestWhatCanNotBeComposedIsNamed(t *testing.T) {
	s := Load(write(t, map[string]string{
		"a.toml": one("a", `needs = ["b"]`), "b.toml": one("b", `needs = ["c"]`), "c.toml": one("c", `needs = ["a"]`),
		"x.toml": one("x", `conflicts = ["y"]`), "y.toml": one("y", ""), "z.toml": one("z", `needs = ["y"]`),
		"lost.toml":   one("lost", `needs = ["nowhere"]`),
		"arm.toml":    one("arm", "arch = [\"arm64\"]\nos = [\"debian-12\", \"ubuntu\"]"),
		"broken.toml": "name = \"broken\"\ntitel = 1\n",
		"old.toml":    one("old", "") + "[[promises]]\ncomponent = \"nvidia-driver\"\nversion = \"470\"\n",
	}))
	for _, c := range []struct {
		names []string
		f     Facts
		code  api.Code
		text  string
	}{
		{[]string{"a"}, Facts{}, api.CodeUsage, "in a circle: a → b → c → a"},
		{[]string{"b"}, Facts{}, api.CodeUsage, "in a circle: b → c → a → b"},
		{[]string{"y", "x"}, Facts{}, api.CodeUsage, "x and y exclude each other"},
		{[]string{"z", "x"}, Facts{}, api.CodeUsage, "exclude each other (z needs y)"},
		{[]string{"lost"}, Facts{}, api.CodeNotFound, `"nowhere", which lost needs`},
		{[]string{"nosuch"}, Facts{}, api.CodeNotFound, `no set-up profile "nosuch"`},
		{[]string{"broken"}, Facts{}, api.CodeUsage, `broken.toml:2:1: there is no key "titel"`},
		{[]string{"arm"}, Facts{Arch: "amd64"}, api.CodeUnsupported, "arm is for arm64; the machine is amd64"},
		{[]string{"arm"}, Facts{Release: "debian-11"}, api.CodeUnsupported, "the machine runs debian-11"},
		{[]string{"cuda=9.9"}, Facts{}, api.CodeUsage, "the set-up profile cuda has no version 9.9; there are 12.4"},
		{[]string{"cuda=12.4", "cuda=12.6"}, Facts{}, api.CodeUsage, "two values of version: 12.4 and 12.6"},
		{[]string{"base:color=red"}, Facts{}, api.CodeUsage, "has no variable color"},
		{[]string{"base:color"}, Facts{}, api.CodeUsage, "is no set-up profile"},
		{[]string{"cuda=$(x)"}, Facts{}, api.CodeUsage, "is no set-up profile"},
		{[]string{"../etc"}, Facts{}, api.CodeUsage, "is no set-up profile"},
		{[]string{""}, Facts{}, api.CodeUsage, "is no set-up profile"},
		{[]string{"rstudio"}, Facts{}, api.CodeUsage, "the set-up profile rstudio needs a value"},
		{[]string{"old", "cuda"}, Facts{}, api.CodeUsage,
			"CUDA 12.6 (cuda) needs a driver of branch 525 or newer; old promises 470"},
	} {
		_, err := s.Compose(c.names, c.f)
		require.ErrorIs(t, err, &api.Error{Code: c.code}, "%v", c.names)
		require.ErrorContains(t, err, c.text)
	}
	_, err := s.Compose([]string{"arm"}, Facts{Arch: "arm64", Release: "ubuntu-24.04"})
	require.NoError(t, err)
}

func TestVariables(t *testing.T) {
	c, err := Load().Compose([]string{"cuda=12.4", "pytorch:env=mine", "pytorch=2.5.1"}, Facts{})
	require.NoError(t, err)
	i := slices.IndexFunc(c.Steps, func(s api.SetupStep) bool { return s.Name == "cuda.toolkit" })
	require.Equal(t, "CUDA toolkit 12.4", c.Steps[i].Title)
	require.Equal(t, []string{"CUDA_VERSION=12.4"}, c.Steps[i].Env)
	require.Equal(t, 3600.0, c.Steps[i].LimitSeconds)
	require.True(t, c.Steps[i].Root && c.Steps[i].Prelude)
	require.Contains(t, c.Promises, api.Promise{Component: "cuda", Version: "12.4", Profile: "cuda"})
	require.Contains(t, c.Promises, api.Promise{Component: "torch", Version: "2.5.1", Profile: "pytorch"})
	require.Contains(t, c.Promises, api.Promise{Component: "kernel:mine", Profile: "pytorch"})
	i = slices.IndexFunc(c.Steps, func(s api.SetupStep) bool { return s.Name == "pytorch.kernel" })
	require.Equal(t, []string{"PYTORCH_VERSION=2.5.1", "PYTORCH_ENV=mine"}, c.Steps[i].Env)
}

func TestAUsersProfileReplacesABuiltInOne(t *testing.T) {
	dir := write(t, map[string]string{"base.toml": one("base", "")})
	p, err := Load(dir).Profile("base")
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "base.toml"), p.Origin)
	p, err = Load(filepath.Join(dir, "nosuch")).Profile("base")
	require.NoError(t, err)
	require.Equal(t, "built-in", p.Origin)
	// One that can't be read is not silently the built-in one.
	_, err = Load(write(t, map[string]string{"base.toml": "x"})).Profile("base")
	require.ErrorContains(t, err, "can't be read")
}

func TestLint(t *testing.T) {
	s := Load()
	for _, c := range []struct{ text, want string }{
		{"title = \"T\"\nneds = [\"base\"]\n", `x.toml:2:1: there is no key "neds"`},
		{"title = \"T\n", "x.toml:1:"},
		{"title = 1\n", "x.toml:1:9: title must be text in quotes, not integer"},
		{"name = \"y\"\n", `x.toml:1: the profile is called "y"`},
		{"title = \"T\"\n", "neither steps nor profiles"},
		{one("x", `needs = ["nosuch"]`), `x.toml:3: it needs "nosuch", which does not exist`},
		{one("x", `needs = ["x"]`), "in a circle: x → x"},
		{one("x", `arch = ["sparc"]`), `no architecture "sparc"`},
		{one("x", `os = ["Debian 12"]`), "no ID or ID-VERSION"},
		{"title = \"T\"\n[[steps]]\nname = \"a\"\ntitle = \"A\"\nroot = true\nscript = \"true\"\n",
			"x.toml:3: step a: it is root's and has no check"},
		{"title = \"T\"\n[[steps]]\nname = \"a\"\ntitle = \"A\"\nscript = '''\ntrue\nif x; then\n'''\n", "x.toml:7"},
		{"title = \"T\"\n[[steps]]\nname = \"a\"\ntitle = \"A\"\nscript = '''\ntrue\n  echo (\n'''\n", "x.toml:7:"},
		{"title = \"T\"\n[[steps]]\nname = \"a\"\ntitle = \"A\"\nscript = '[[ a == b ]]; x=(1 2)'\n", "is no sh script"},
		{"title = \"T\"\n[[steps]]\nname = \"a\"\ntitle = \"A\"\nscript = 'true'\ncheck = 'fi'\n",
			"the check is no sh script"},
		{"title = \"T\"\n[[steps]]\nname = \"a\"\ntitle = \"A\"\nscript = 'curl -fsSL https://x | sudo bash'\n",
			"it runs what it fetches, unseen"},
		{"title = \"T\"\n[[steps]]\nname = \"a\"\ntitle = \"A\"\nscript = 'wget https://x/y && sh y'\n",
			"checks neither checksum nor signature"},
		{"title = \"T\"\n[[steps]]\nname = \"a\"\ntitle = \"A\"\nscript = 'true'\nlimit = \"soon\"\n",
			`the limit "soon" is no duration`},
		{"title = \"T\"\n[[steps]]\nname = \"a\"\ntitle = \"A\"\nscript = 'true'\n[[steps]]\nname = \"a\"\ntitle = \"A\"\nscript = 'true'\n", "there are two of this name"},
		{one("x", "") + "[[promises]]\ncomponent = \"warp-drive\"\n",
			`it promises "warp-drive", which the inventory does not know`},
		{one("x", "") + "[[promises]]\ncomponent = \"cuda\"\nversion = \"{nosuch}\"\n",
			"names a variable that does not exist"},
		{one("x", "needs = [\"nvidia-driver\"]") + "[[promises]]\ncomponent = \"cuda\"\nversion = \"13.0\"\n",
			"CUDA 13.0 (x) needs a driver of branch 580"},
		{one("x", "") + "[[variables]]\nname = \"version\"\ndefault = \"3\"\nvalues = [\"1\", \"2\"]\n",
			"the default 3 of the variable version is none of its values"},
		{one("x", "") + "[[variables]]\nname = \"version\"\ndefault = \"a b\"\n", "is no plain word"},
	} {
		got := Format(s.lintText([]byte(c.text), "x.toml"))
		require.Contains(t, got, c.want, "%s", c.text)
	}
	require.Empty(t, s.lintText([]byte(one("x", "")), "x.toml"))
}

func TestABrokenProfileIsRefused(t *testing.T) {
	dir := write(t, map[string]string{
		"mine.toml":  "title = \"T\"\n[[steps]]\nname = \"a\"\ntitle = \"A\"\nscript = 'curl http://x | sh'\n[[steps]]\nname = \"b\"\nscript = ''\n",
		"over.toml":  one("over", `needs = ["mine"]`),
		"plain.toml": "[[steps]]\nname = \"a\"\nscript = 'true'\n[[promises]]\ncomponent = \"warp-drive\"\n",
	})
	s := Load(dir)
	refused := func(name string) error {
		c, err := s.Compose([]string{name}, Facts{})
		require.NoError(t, err)
		return s.Refused(c.Profiles)
	}
	err := refused("over")
	require.ErrorIs(t, err, &api.Error{Code: api.CodeUsage})
	require.ErrorContains(t, err, "the set-up profile mine can't be used: "+filepath.Join(dir,
		"mine.toml")+":5: step a: it runs what it fetches, unseen")
	require.ErrorContains(t, err, "more)")
	require.Equal(t, "mend it; berth profile lint "+filepath.Join(dir, "mine.toml")+" checks it", api.AsError(err).Hint)
	require.NoError(t, refused("plain"), "warnings only")
	require.NoError(t, refused("cuda"))
	p, err := s.Profile("mine")
	require.NoError(t, err)
	require.NotEmpty(t, p.Errors)
	p, err = s.Profile("plain")
	require.NoError(t, err)
	require.Empty(t, p.Errors)
	ps, err := s.LintFile(filepath.Join(dir, "plain.toml"))
	require.NoError(t, err)
	require.Len(t, ps, 3)
	require.Contains(t, Format(ps), ": warning: it has no title")
}

func TestTheProfileWithARestartIsClean(t *testing.T) {
	s := Load("testdata")
	problems, err := s.LintFile("testdata/restart.toml")
	require.NoError(t, err)
	require.Empty(t, problems)
	c, err := s.Compose([]string{"restart"}, Facts{})
	require.NoError(t, err)
	require.True(t, c.Reboots)
}

func TestAnInstanceThatWasSetUpTwice(t *testing.T) {
	inv := api.Inventory{Components: []api.Component{{Name: "cuda", Version: "12.4.1"}}}
	Load().Hold(&inv, []string{"nosuch"})
	require.Contains(t, inv.Errors[0], `no set-up profile "nosuch"`)
	inv.Errors = nil
	Load().Hold(&inv, []string{"cuda=12.4", "mpi", "cuda=12.6"})
	require.Empty(t, inv.Errors)
	require.Contains(t, inv.Drift, api.Drift{Component: "cuda", Kind: "version", Promised: "12.6", Found: "12.4.1",
		Profile: "cuda"})
	require.Contains(t, inv.Drift, api.Drift{Component: "mpi", Kind: "missing", Profile: "mpi"})
	Load().Hold(&inv, []string{"cuda=12.6", "cuda=12.4", "cuda"})
	require.NotContains(t, inv.Drift, api.Drift{Component: "cuda", Kind: "version", Promised: "12.6", Found: "12.4.1",
		Profile: "cuda"})
	Load().Hold(&inv, nil)
	require.Equal(t, []api.Drift{}, inv.Drift)
}

// TestCompositions holds for any set of profiles without circles: each takes part once, after those that
// it needs, and the same names give the same order.
func TestCompositions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "n")
		s := &Set{by: map[string]*source{}}
		for i := range n {
			p := &source{Name: fmt.Sprintf("p%d", i), Steps: []sourceStep{{Name: "s", Script: "true"}}}
			for j := range i { // only earlier ones: no circle
				if rapid.Bool().Draw(t, "needs") {
					p.Needs = append(p.Needs, fmt.Sprintf("p%d", j))
				}
			}
			s.by[p.Name] = p
		}
		var names []string
		for range rapid.IntRange(1, 6).Draw(t, "names") {
			names = append(names, fmt.Sprintf("p%d", rapid.IntRange(0, n-1).Draw(t, "name")))
		}
		c, err := s.Compose(names, Facts{})
		if err != nil {
			t.Fatal(err)
		}
		at := map[string]int{}
		for i, p := range c.Profiles {
			if _, twice := at[p]; twice {
				t.Fatalf("%s is there twice: %v", p, c.Profiles)
			}
			at[p] = i
		}
		for _, name := range names {
			if _, ok := at[name]; !ok {
				t.Fatalf("%s is missing from %v", name, c.Profiles)
			}
		}
		for p, i := range at {
			for _, need := range s.by[p].Needs {
				if j, ok := at[need]; !ok || j > i {
					t.Fatalf("%s comes before %s, which it needs: %v", p, need, c.Profiles)
				}
			}
		}
		again, _ := s.Compose(names, Facts{})
		if !slices.Equal(again.Profiles, c.Profiles) {
			t.Fatalf("%v, then %v", c.Profiles, again.Profiles)
		}
		more, _ := s.Compose(append(names, names...), Facts{})
		if !slices.Equal(more.Profiles, c.Profiles) {
			t.Fatalf("twice the same names: %v, then %v", c.Profiles, more.Profiles)
		}
	})
}

func FuzzLint(f *testing.F) {
	names, err := fs.Glob(assets.Profiles(), "*.toml")
	require.NoError(f, err)
	for _, n := range names {
		b, err := fs.ReadFile(assets.Profiles(), n)
		require.NoError(f, err)
		f.Add(b)
	}
	s := Load()
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, p := range s.lintText(b, "x.toml") {
			if p.Text == "" || p.Line < 0 || p.Line > 2+strings.Count(string(b), "\n") {
				t.Fatalf("%+v", p)
			}
		}
	})
}

func FuzzChoice(f *testing.F) {
	for _, s := range []string{"cuda", "cuda=12.4", "conda:env=ml", ":=", "a:b", "a=", "=x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseChoice(s)
		if err == nil && (!plainWord(c.name) || c.variable != "" && (!plainWord(c.variable) || !plainValue(c.value))) {
			t.Fatalf("%q is read as %+v", s, c)
		}
	})
}

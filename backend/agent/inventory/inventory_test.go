package inventory

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"berth/backend/agent/process"
	"berth/backend/api"
	"berth/backend/machine/software"
)

// tree makes the files of a host.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for p, text := range files {
		p = filepath.Join(root, p)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		if to, ok := strings.CutPrefix(text, "-> "); ok {
			require.NoError(t, os.Symlink(to, p))
			continue
		}
		require.NoError(t, os.WriteFile(p, []byte(text), 0o755))
	}
	return root
}

const gpuDriver = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"
const openDriver = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (dvs-builder@U16-I3-B03-4-3)\nGCC version:\n"

// gpuBox is a machine as data scientists have them.
func gpuBox() map[string]string {
	return map[string]string{
		"/etc/os-release":                   "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n",
		"/proc/driver/nvidia/version":       gpuDriver,
		"/usr/local/cuda-12.4/version.json": `{"cuda":{"name":"CUDA SDK","version":"12.4.1"},"nvidia_driver":{"version":"550.54.15"}}`,
		"/usr/local/cuda-11.8/version.json": `{"cuda":{"name":"CUDA SDK","version":"11.8.0"}}`,
		"/usr/local/cuda-9.0/version.txt":   "CUDA Version 9.0.176\n",
		"/usr/local/cuda":                   "-> cuda-12.4",
		"/usr/local/cuda-12.4/bin/nvcc":     "",
		"/usr/local/cuda-10.0/README":       "left behind",
		"/usr/include/cudnn_version.h":      "#ifndef X\n#define CUDNN_MAJOR 9\n#define CUDNN_MINOR 1\n#define CUDNN_PATCHLEVEL 0\n#define CUDNN_VERSION (CUDNN_MAJOR * 10000)\n",
		"/var/lib/dpkg/status": "Package: libnccl2\nStatus: install ok installed\nVersion: 2.21.5-1+cuda12.4\n\nPackage: nginx\nStatus: install ok installed\nVersion: 1:1.22.1-9+deb12u1\n\n" +
			"Package: git\nStatus: deinstall ok config-files\nVersion: 1:2.39.5-0\n\nPackage: openmpi-bin\nStatus: install ok installed\nVersion: 4.1.4-3+b1\n",
		"/usr/sbin/nginx": "", "/usr/bin/git": "", "/usr/bin/mpirun": "-> /etc/alternatives/mpirun",
		"/etc/alternatives/mpirun": "-> ../../usr/bin/mpirun.openmpi", "/usr/bin/mpirun.openmpi": "",
		"/usr/bin/loop": "-> loop", "/usr/bin/rclone": "", "/usr/bin/az": "", "/usr/bin/python3": "",
		"/usr/local/bin/protoc": "",
		"/home/u/miniforge3/conda-meta/conda-24.11.3-py312_0.json":                                      "{}",
		"/home/u/miniforge3/conda-meta/python-3.12.8-h9e4cc4f_1_cpython.json":                           "{}",
		"/home/u/miniforge3/envs/pt/conda-meta/python-3.11.9-h_0.json":                                  "{}",
		"/home/u/miniforge3/envs/pt/conda-meta/pytorch-2.5.1-cuda_py311_0.json":                         "{}",
		"/home/u/miniforge3/envs/pt/conda-meta/history":                                                 "",
		"/home/u/miniforge3/envs/pt/conda-meta/numpy-1.26.4-py311_0.json":                               "{}",
		"/home/u/miniforge3/envs/pt/lib/python3.11/site-packages/mlflow-2.19.0.dist-info/METADATA":      "",
		"/home/u/miniforge3/envs/pt/lib/python3.11/site-packages/scikit_learn-1.6.0.dist-info/METADATA": "",
		"/home/u/miniforge3/envs/pt/lib/python3.11/site-packages/six-1.6.0.dist-info/METADATA":          "",
		"/home/u/miniforge3/envs/pt/share/jupyter/kernels/python3/kernel.json":                          `{"argv":["python"],"display_name":"Python 3","language":"python"}`,
		"/usr/share/jupyter/kernels/ir/kernel.json":                                                     `{"argv":["R"],"display_name":"R","language":"R"}`,
		"/usr/share/jupyter/kernels/broken/kernel.json":                                                 `{`,
		"/usr/lib/python3/dist-packages/numpy-1.24.2.egg-info":                                          "",
		"/home/u/code/.venv/pyvenv.cfg":                                                                 "home = /usr/bin\nversion = 3.11.2\n",
		"/home/u/code/.venv/lib/python3.11/site-packages/torch-2.6.0+cu124.dist-info/METADATA":          "",
		"/share/u/nlp/venv/pyvenv.cfg":                                                                  "version_info = 3.10.4.final.0\n", "/share/u/nlp/venv/share/jupyter/kernels/nlp/kernel.json": `{"argv":["p"],"display_name":"NLP","language":"python"}`,
		"/home/u/code/.venv/lib64": "-> lib",
	}
}

// says answers for programs.
func says(answers map[string]string) func(context.Context, string, ...string) ([]byte, error) {
	return func(_ context.Context, path string, _ ...string) ([]byte, error) {
		if a, ok := answers[filepath.Base(path)]; ok {
			return []byte(a), nil
		}
		return nil, errors.New("exit status 1")
	}
}

func versions(inv api.Inventory) map[string]string {
	out := map[string]string{}
	for _, c := range inv.Components {
		if out[c.Name] != "" {
			out[c.Name] += " "
		}
		out[c.Name] += c.Version
	}
	return out
}

func TestWhatIsInstalledIsFound(t *testing.T) {
	r := NewReader(Host{Root: tree(t, gpuBox()), Home: "/home/u", Work: "/share/u", Arch: "amd64",
		Run: says(map[string]string{
			"rclone": "rclone v1.60.1-DEV\n- os/version: debian 12.5\n", "python3": "Python 3.11.2\n",
			"protoc": "libprotoc 25.1\n"})})
	inv := r.Read(t.Context())
	require.Equal(t, "Debian GNU/Linux 12 (bookworm)", inv.System)
	require.Equal(t, "debian-12", inv.Release)
	require.NotEmpty(t, inv.Kernel)
	require.Equal(t, map[string]string{"nvidia-driver": "550.54.15", "cuda": "11.8.0 12.4.1 9.0.176", "cudnn": "9.1.0",
		"nccl": "2.21.5", "nginx": "1.22.1", "mpi": "4.1.4",
		"rclone": "1.60.1", "python": "3.11.2", "protobuf": "25.1", "conda": "24.11.3", "az": "", "git": ""}, versions(inv))
	require.Len(t, inv.Conda, 2)
	require.Equal(t, api.Conda{Name: "base", Path: "/home/u/miniforge3", Python: "3.12.8", Packages: map[string]string{}},
		inv.Conda[0])
	require.Equal(t, api.Conda{Name: "pt", Path: "/home/u/miniforge3/envs/pt", Python: "3.11.9",
		Packages: map[string]string{"torch": "2.5.1", "numpy": "1.26.4", "mlflow": "2.19.0", "scikit-learn": "1.6.0"}},
		inv.Conda[1])
	require.Len(t, inv.Python, 3)
	require.Equal(t, api.Conda{Name: "nlp/venv", Path: "/share/u/nlp/venv", Python: "3.10.4",
		Packages: map[string]string{}}, inv.Python[1])
	require.Equal(t, api.Conda{Name: "code/.venv", Path: "/home/u/code/.venv", Python: "3.11.2",
		Packages: map[string]string{"torch": "2.6.0+cu124"}}, inv.Python[0])
	require.Equal(t, map[string]string{"numpy": "1.24.2"}, inv.Python[2].Packages)
	require.Equal(t, []string{"ir", "nlp", "python3"}, []string{inv.Kernels[0].Name, inv.Kernels[1].Name,
		inv.Kernels[2].Name})
	require.Equal(t, []string{"Pythons and Jupyter kernels: /usr/share/jupyter/kernels/broken/kernel.json can't be read",
		"az: /usr/bin/az --version: exit status 1", "git: /usr/bin/git --version: exit status 1"}, inv.Errors)

	drift := software.Compare(&inv, []api.Promise{
		{Component: "nvidia-driver", Version: "550", Profile: "d"}, {Component: "cuda", Version: "12.4", Profile: "c"},
		{Component: "cuda", Version: "12.6", Profile: "c"},
		{Component: "torch", Version: "2.5.1", Profile: "p"}, {Component: "torch", Version: "2.6", Profile: "p"},
		{Component: "torch", Version: "2", Profile: "p"},
		{Component: "tensorflow", Profile: "t"}, {Component: "tensorflow", Profile: "t"}, {Component: "kernel:IR",
			Profile: "r"}, {Component: "kernel:julia", Profile: "j"},
		{Component: "az", Profile: "a"}, {Component: "az", Version: "2", Profile: "a"}})
	require.Equal(t, []api.Drift{
		{Component: "cuda", Kind: "version", Promised: "12.6", Found: "11.8.0, 12.4.1, 9.0.176", Profile: "c"},
		{Component: "tensorflow", Kind: "missing", Profile: "t"}, {Component: "kernel:julia", Kind: "missing", Profile: "j"},
		{Component: "az", Kind: "version", Promised: "2", Found: "", Profile: "a"}}, drift)
}

func TestAnEmptyHost(t *testing.T) {
	inv := NewReader(Host{Root: tree(t, map[string]string{"/etc/os-release": "ID=alpine\nVERSION_ID=3.20\n"}),
		Home: "/root"}).Read(t.Context())
	require.Empty(t, inv.Components)
	require.NotNil(t, inv.Components)
	require.NotNil(t, inv.Conda)
	require.Equal(t, "alpine-3.20", inv.Release)
	require.Empty(t, inv.Errors)
}

func TestThisHost(t *testing.T) {
	inv := NewReader(Host{Home: os.Getenv("HOME")}).Read(t.Context())
	require.NotEmpty(t, inv.System)
	for _, c := range inv.Components {
		require.NotEmpty(t, c.Title, c.Name)
		require.True(t, software.Known(c.Name), c.Name)
	}
}

// TestWhatHangsIsLeftOut: a mount that does not answer, and a program that never ends.
func TestWhatHangsIsLeftOut(t *testing.T) {
	release := make(chan struct{})
	var asked atomic.Int32
	h := Host{Root: tree(t, gpuBox()), Home: "/home/u", Limit: 300 * time.Millisecond, Run: func(context.Context, string,
		...string) ([]byte, error) {
		asked.Add(1)
		<-release // it takes no notice of the limit, as a process that waits for a dead mount
		return nil, nil
	}}
	r := NewReader(h)
	inv := r.Read(t.Context())
	require.Equal(t, "550.54.15", versions(inv)["nvidia-driver"])
	require.Contains(t, strings.Join(inv.Errors, "\n"), "python: no answer within 300ms; a mount may hang")
	n := asked.Load()
	inv = r.Read(t.Context())
	require.Contains(t, strings.Join(inv.Errors, "\n"), "python: an earlier look at it still hangs")
	require.Equal(t, n, asked.Load(), "what hangs is not begun again")
	close(release)
	require.Contains(t, inv.Unread, "git")
	promises := []api.Promise{{Component: "git", Profile: "n"}, {Component: "torch", Profile: "t"},
		{Component: "nvidia-driver", Version: "550", Profile: "d"}, {Component: "cuda", Profile: "c"}}
	inv.Components = slices.DeleteFunc(inv.Components, func(c api.Component) bool { return c.Name == "git" })
	for _, d := range software.Compare(&inv, promises) {
		require.NotEqual(t, "git", d.Component, "what could not be read is not missing")
	}
}

// TestReadersAtTheSameMoment: everybody gets a whole inventory, and it is read once.
func TestReadersAtTheSameMoment(t *testing.T) {
	release, begun := make(chan struct{}), make(chan struct{}, 100)
	var asked atomic.Int32
	r := NewReader(Host{Root: tree(t, gpuBox()), Home: "/home/u", Run: func(_ context.Context, path string,
		_ ...string) ([]byte, error) {
		asked.Add(1)
		begun <- struct{}{}
		<-release
		return []byte("1.2.3"), nil
	}})
	invs := make([]api.Inventory, 5)
	var wg sync.WaitGroup
	ctx, leave := context.WithCancel(t.Context())
	wg.Go(func() { // the first goes away while it is read
		require.Contains(t, strings.Join(r.Read(ctx).Errors, "\n"), "nothing was read")
	})
	<-begun
	for i := range invs {
		wg.Go(func() { invs[i] = r.Read(t.Context()) })
	}
	leave()
	time.Sleep(50 * time.Millisecond) // for the others to have asked; were they later, they would read it again
	n := asked.Load()
	close(release)
	wg.Wait()
	for _, inv := range invs {
		require.NotContains(t, strings.Join(inv.Errors, "\n"), "earlier look")
		require.Empty(t, inv.Unread)
		require.NotEmpty(t, inv.Components)
		require.Equal(t, invs[0].Components, inv.Components)
	}
	require.NotZero(t, n)
}

func TestAProgramThatHangsIsKilled(t *testing.T) {
	root := tree(t, map[string]string{"/etc/os-release": "ID=x",
		"/usr/bin/nginx": "#!/bin/sh\necho $$ >\"$0.pid\"\nsleep 1000 &\nsleep 1000\n"})
	inv := NewReader(Host{Root: root, ToolLimit: 300 * time.Millisecond}).Read(t.Context())
	require.Contains(t, strings.Join(inv.Errors, "\n"), "it did not end in time")
	b, err := os.ReadFile(filepath.Join(root, "/usr/bin/nginx.pid"))
	require.NoError(t, err)
	var pid int
	_, err = fmt.Sscan(string(b), &pid)
	require.NoError(t, err)
	require.Eventually(t, func() bool { // neither it nor its child is left
		empty, err := process.Set{Session: pid}.Empty()
		return err == nil && empty
	}, 2*time.Minute, 5*time.Millisecond)
}

func TestPipesAndDevicesAreNotRead(t *testing.T) {
	root := tree(t, map[string]string{"/etc/x": ""})
	require.NoError(t, unix.Mkfifo(filepath.Join(root, "/etc/os-release"), 0o600))
	inv := NewReader(Host{Root: root}).Read(t.Context())
	require.Equal(t, []string{"the system: there is no /etc/os-release"}, inv.Errors)
}

func TestParsers(t *testing.T) {
	require.Equal(t, "570.86.15", driverOf([]byte(openDriver)))
	for in, want := range map[string]string{
		"Docker version 26.1.4, build 5650f9b": "26.1.4", "nginx version: nginx/1.22.1": "1.22.1",
		"mpirun (Open MPI) 4.1.4\n":                                   "4.1.4",
		"R version 4.2.2 Patched (2022-11-10 r83330) -- \"Innocent\"": "4.2.2", "libprotoc 3.21.12": "3.21.12",
		"tmux 3.3a": "3.3", "2024.12.1+563 (Kousa) for Ubuntu": "2024.12.1+563",
		"aws-cli/2.22.0 Python/3.12.6": "2.22.0", "Google Cloud SDK 502.0.0\n": "502.0.0", "14\n": "14", "no version": "",
		"": "",
	} {
		require.Equal(t, want, versionIn([]byte(in)), in)
	}
	for in, want := range map[string][3]string{
		"pytorch-cuda-12.4-hc786d27_7.json":  {"pytorch-cuda", "12.4", "y"},
		"_libgcc_mutex-0.1-conda_forge.json": {"_libgcc_mutex", "0.1", "y"}, "history": {}, "a-b.json": {}, "-1-2.json": {},
		"a--b.json": {},
	} {
		n, v, ok := condaPackage(in)
		require.Equal(t, want[2] == "y", ok, in)
		require.Equal(t, [2]string{want[0], want[1]}, [2]string{n, v}, in)
	}
	for in, want := range map[string]string{"1:2.39.5-0+deb12u2": "2.39.5", "1.24.2+dfsg-1": "1.24.2", "2.0": "2.0",
		"": ""} {
		require.Equal(t, want, upstream(in), in)
	}
}

func FuzzParsers(f *testing.F) {
	for _, s := range []string{gpuDriver, openDriver, "#define CUDNN_MAJOR 9",
		"Package: a\nVersion: 1:2-3\nStatus: install ok installed\n\n", "ID=\"debian\nVERSION_ID", "numpy-1.2-py_0.json",
		`{"cuda":{"version":"12"}}`, `{"argv":["x"]}`, "a-1.dist-info"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		osRelease(b)
		for _, v := range []string{driverOf(b), versionIn(b), first(nvccVersion, b), first(cudaText, b), cudaJSON(b),
			defined(b, "CUDNN_MAJOR", "CUDNN_MINOR")} {
			if strings.ContainsAny(v, " \n\x1b") || len(v) > 100 {
				t.Fatalf("%q has the version %q", b, v)
			}
		}
		dpkgStatus(b)
		upstream(string(b))
		if n, v, ok := condaPackage(string(b)); ok && (n == "" || v == "") {
			t.Fatalf("%q", b)
		}
		if n, v, ok := distInfo(string(b)); ok && (n == "" || v == "") {
			t.Fatalf("%q", b)
		}
		kernelJSON(b)
	})
}

package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/registry"
	"github.com/stretchr/testify/require"

	job "berth/backend/agent/container"
)

// created is a request to make a container.
type created struct {
	container.Config
	HostConfig container.HostConfig
	name       string
}

// fake is an engine that runs nothing: what Podman can't show here.
type fake struct {
	t    *testing.T
	path string

	kind     string   // "Docker/28.0.1 (linux)"
	info     string   // JSON
	cuts     int      // pulls that are cut in the middle
	no       string   // what a pull says that can't be done
	says     []string // what the container prints, piece by piece
	exit     int
	unseen   int // bytes after which a log that is followed is cut
	startErr string

	mu     sync.Mutex
	pulled bool
	auth   []string // headers of the pulls
	made   []created
	starts int
	gone   bool
}

func newFake(t *testing.T) *fake {
	dir, err := os.MkdirTemp("", "eng") // short: sockets have short names
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	f := &fake{t: t, path: filepath.Join(dir, "s"), kind: "Docker/28.0.1 (linux)", info: `{"InitBinary":"docker-init"}`,
		pulled: true}
	l, err := net.Listen("unix", f.path)
	require.NoError(t, err)
	srv := &http.Server{Handler: f}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return f
}

var version = regexp.MustCompile(`^/v1\.\d+`)

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Server", f.kind)
	w.Header().Set("Api-Version", "1.47")
	say := func(code int, format string, a ...any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, format, a...)
	}
	no := func(code int, message string) { say(code, `{"message":%q}`, message) }
	switch path := version.ReplaceAllString(r.URL.Path, ""); {
	case path == "/_ping":
	case path == "/info":
		say(200, "%s", f.info)
	case path == "/images/create":
		f.auth = append(f.auth, r.Header.Get("X-Registry-Auth"))
		f.pull(w)
	case strings.HasPrefix(path, "/images/"):
		if !f.pulled {
			no(404, "No such image: x")
			return
		}
		say(200, `{"Id":"sha256:1"}`)
	case path == "/containers/create":
		if !f.pulled {
			no(404, "No such image: x")
			return
		}
		c := created{name: r.URL.Query().Get("name")}
		if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
			no(400, err.Error())
			return
		}
		if len(f.made) > 0 {
			no(409, "Conflict. The container name is already in use")
			return
		}
		f.made = append(f.made, c)
		say(201, `{"Id":"1","Warnings":["no swap"]}`)
	case strings.HasSuffix(path, "/start"):
		f.starts++
		if f.startErr != "" {
			no(400, f.startErr)
			return
		}
		w.WriteHeader(204)
	case strings.HasSuffix(path, "/wait"):
		say(200, `{"StatusCode":%d}`, f.exit)
	case strings.HasSuffix(path, "/logs"):
		f.logs(w, r.URL.Query().Get("follow") == "1")
	case strings.HasSuffix(path, "/json"):
		status := "created"
		if f.starts > 0 {
			status = "exited"
		}
		if f.gone || len(f.made) == 0 {
			no(404, "No such container: x")
			return
		}
		say(200, `{"Id":"1","State":{"Status":%q,"ExitCode":%d}}`, status, f.exit)
	case r.Method == http.MethodDelete:
		f.gone = true
		w.WriteHeader(204)
	default:
		no(500, "the fake has no "+r.Method+" "+path)
	}
}

// pull streams a pull, or a piece of one.
func (f *fake) pull(w http.ResponseWriter) {
	if f.no != "" {
		_, _ = fmt.Fprintf(w, `{"errorDetail":{"message":%q},"error":%q}`+"\n", f.no, f.no)
		return
	}
	_, _ = io.WriteString(w, `{"status":"Pulling from library/x","id":"1"}
{"status":"Downloading","progressDetail":{"current":5,"total":10},"id":"a"}
{"status":"Already exists","id":"b"}
`)
	if f.cuts > 0 {
		f.cuts--
		_ = http.NewResponseController(w).Flush()
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = c.Close()
		}
		return
	}
	f.pulled = true
	_, _ = io.WriteString(w, `{"status":"Pull complete","id":"a"}`+"\n")
}

// logs streams what the container prints, by turns on both of its streams.
func (f *fake) logs(w http.ResponseWriter, follow bool) {
	w.Header().Set("Content-Type", "application/vnd.docker.multiplexed-stream")
	n := 0
	for i, s := range f.says {
		var head [8]byte
		head[0] = byte(1 + i%2)
		binary.BigEndian.PutUint32(head[4:], uint32(len(s)))
		if n += len(s); follow && f.unseen > 0 && n > f.unseen {
			return
		}
		_, _ = w.Write(append(head[:], s...))
	}
}

// live runs a container to its end.
func (f *fake) live(spec job.Spec, env ...string) (job.Result, string) {
	f.t.Helper()
	if spec.Dir == "" {
		spec.Dir = f.t.TempDir()
	}
	log, err := os.OpenFile(filepath.Join(spec.Dir, "log"), os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	require.NoError(f.t, err)
	defer log.Close()
	if spec.Name == "" {
		spec.Name = "berth-1.1.ab"
	}
	if spec.Image == "" {
		spec.Image = "x"
	}
	spec.Host = socket + f.path
	l := &life{spec: spec, command: []string{"train"}, env: env, out: log, usage: usage{root: f.t.TempDir()},
		getenv: func(k string) string { return map[string]string{"HOME": filepath.Join(spec.Dir, "home")}[k] },
		told:   &told{end: func() {}, more: make(chan struct{}, 1)}}
	res, err := l.live(f.t.Context(), f.t.Context())
	require.NoError(f.t, err)
	b, err := os.ReadFile(log.Name())
	require.NoError(f.t, err)
	return res, string(b)
}

// TestWhatAContainerGets over the wire.
func TestWhatAContainerGets(t *testing.T) {
	f := newFake(t)
	f.exit, f.says = 3, []string{"out\n", "err\n", "no end"}
	res, log := f.live(job.Spec{Workdir: "/data/run", Mounts: []string{"/data/run", "/share", "/data", "/share", ""},
		Home: "/scratch", Memory: 1 << 30, CPUs: 2, Shm: 1 << 29, GPUs: []string{"GPU-1", "MIG-2"},
		Label: map[string]string{job.LabelRun: "1.1.ab"}}, "A=b", "BERTH_GPU_UUIDS=GPU-1,MIG-2")
	require.Equal(t, job.Result{Exit: 3}, res)
	require.Equal(t, "out\nerr\nno end", log)
	c := f.made[0]
	require.Equal(t, "berth-1.1.ab", c.name)
	require.Equal(t, []string{"train"}, c.Cmd)
	require.Equal(t, "0:0", c.User, "root's, or of an ordinary user whose own engine it is: its root is that user")
	require.Equal(t, "/data/run", c.WorkingDir)
	require.Equal(t, "1.1.ab", c.Labels[job.LabelRun])
	require.Equal(t, []string{"A=b", "BERTH_GPU_UUIDS=GPU-1,MIG-2"}, c.Env, "and no index of a GPU")
	h := c.HostConfig
	require.Equal(t, []container.DeviceRequest{{Driver: "nvidia", DeviceIDs: []string{"GPU-1", "MIG-2"},
		Capabilities: [][]string{{"gpu", "utility", "compute"}}}}, h.DeviceRequests)
	require.EqualValues(t, 1<<30, h.Memory)
	require.EqualValues(t, 1<<30, h.MemorySwap, "and no swap beside it")
	require.EqualValues(t, 2e9, h.NanoCPUs)
	require.EqualValues(t, 1<<29, h.ShmSize)
	require.True(t, *h.Init)
	require.Equal(t, container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "-1"}}, h.LogConfig)
	var mounts []string
	for _, m := range h.Mounts {
		require.Equal(t, m.Source, m.Target)
		mounts = append(mounts, m.Source)
	}
	require.Equal(t, []string{"/data", "/share", "/data/run"}, mounts)
}

// TestNoGPUs: an image that says "all" gets none.
func TestNoGPUs(t *testing.T) {
	f := newFake(t)
	f.live(job.Spec{NoGPUs: true})
	require.Contains(t, f.made[0].Env, "NVIDIA_VISIBLE_DEVICES=void")
	require.Empty(t, f.made[0].HostConfig.DeviceRequests)
}

// TestGPUsByCDI: by what the engine has found itself, or by the files of the folders that it names.
func TestGPUsByCDI(t *testing.T) {
	want := []container.DeviceRequest{{Driver: "cdi", DeviceIDs: []string{"nvidia.com/gpu=GPU-1"}}}
	f := newFake(t)
	f.info = `{"DiscoveredDevices":[{"Source":"cdi","ID":"nvidia.com/gpu=0"},{"Source":"cdi","ID":"nvidia.com/gpu=GPU-1"}]}`
	f.live(job.Spec{GPUs: []string{"GPU-1"}})
	require.Equal(t, want, f.made[0].HostConfig.DeviceRequests)
	require.Contains(t, f.made[0].Env, "NVIDIA_VISIBLE_DEVICES=void", "else its runtime gives some, too")
	require.Nil(t, f.made[0].HostConfig.Init, "it has none")

	dir := t.TempDir()
	spec := "cdiVersion: 0.6.0\nkind: nvidia.com/gpu\ndevices:\n- name: \"0\"\n- name: GPU-1\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nvidia.yaml"), []byte(spec), 0o600))
	f = newFake(t)
	f.info = fmt.Sprintf(`{"CDISpecDirs":[%q]}`, dir)
	f.live(job.Spec{GPUs: []string{"GPU-1"}})
	require.Equal(t, want, f.made[0].HostConfig.DeviceRequests)

	f = newFake(t)
	f.kind = "Libpod/5.5.0 (linux)"
	f.live(job.Spec{GPUs: []string{"GPU-1"}, Systems: []string{dir}})
	require.Equal(t, want, f.made[0].HostConfig.DeviceRequests)
	for kind, gpu := range map[string]string{"Libpod/5.4.9 (linux)": "GPU-1", "Libpod/5.10.0 (linux)": "GPU-2"} {
		f = newFake(t)
		f.kind = kind
		res, _ := f.live(job.Spec{GPUs: []string{gpu}, Systems: []string{dir}})
		require.NotEmpty(t, res.Failed, kind)
		require.Empty(t, f.made, "better none than one without its GPU")
	}
}

func FuzzParseCDI(f *testing.F) {
	f.Add([]byte("kind: nvidia.com/gpu\ndevices: [{name: GPU-1}]"))
	f.Add([]byte(`{"kind":"nvidia.com/gpu","devices":[{"name":"all"}]}`))
	f.Fuzz(func(_ *testing.T, b []byte) { parseCDI(b) })
}

// TestAPullThatIsCut is tried again, with the user's credentials.
func TestAPullThatIsCut(t *testing.T) {
	f := newFake(t)
	f.pulled, f.cuts, f.says = false, 2, []string{"hi\n"}
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "home", ".docker"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "home", ".docker", "config.json"),
		[]byte(`{"auths":{"reg.example.com":{"auth":"bWU6c2VjcmV0"}}}`), 0o600))
	res, log := f.live(job.Spec{Dir: dir, Image: "reg.example.com/x:1"})
	require.Zero(t, res.Exit, log)
	require.Empty(t, res.Failed)
	require.Equal(t, 2, strings.Count(log, "was cut"), log)
	require.Contains(t, log, "berth: pulled reg.example.com/x:1 in ")
	require.True(t, strings.HasSuffix(log, "\nhi\n"), log)
	require.NotContains(t, log, "secret")
	require.Len(t, f.auth, 3)
	got, err := authconfig.Decode(f.auth[0])
	require.NoError(t, err)
	require.Equal(t, registry.AuthConfig{Username: "me", Password: "secret", ServerAddress: "reg.example.com"}, *got)

	f = newFake(t)
	f.pulled, f.cuts = false, 1000
	res, _ = f.live(job.Spec{Image: "reg.example.com/x:1", Retries: 2})
	require.Contains(t, res.Failed, "pulling reg.example.com/x:1: ")
	require.Len(t, f.auth, 2)

	for _, why := range []string{"manifest for x:1 not found: manifest unknown", "unauthorized: log in first",
		"pull access denied for x"} {
		f = newFake(t)
		f.pulled, f.no = false, why
		res, _ = f.live(job.Spec{Image: "x:1"})
		require.Contains(t, res.Failed, why)
		require.Equal(t, 125, res.Exit)
		require.Len(t, f.auth, 1, "another try would not mend it")
	}
}

// TestALogIsWholeOnce wherever the copying was cut: in a stream that ends early, or with this program in the middle of
// a line.
func TestALogIsWholeOnce(t *testing.T) {
	whole := ""
	var says []string
	for i := range 50 {
		says = append(says, fmt.Sprintf("piece %d\n", i))
		whole += says[i]
	}
	f := newFake(t)
	f.says, f.unseen = says, 100
	_, log := f.live(job.Spec{})
	require.Equal(t, whole, log)
	for _, cut := range []int{0, 1, 9, 123, len(whole)} {
		f := newFake(t)
		f.says, f.starts, f.made = says, 1, []created{{}}
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "log"), []byte("berth: pulled\n"+whole[:cut]), 0o600))
		p := job.Progress{Host: socket + f.path, LogStart: int64(len("berth: pulled\n")), Started: true}
		require.NoError(t, p.Write(dir))
		_, log := f.live(job.Spec{Dir: dir})
		require.Equal(t, "berth: pulled\n"+whole, log)
		require.Equal(t, 1, f.starts, "it is not started again")
	}
}

// TestWhereAnotherWasBefore: what was written down says what is to be done.
func TestWhereAnotherWasBefore(t *testing.T) {
	before := func(f *fake, p job.Progress) string {
		dir := t.TempDir()
		p.Host = socket + f.path
		require.NoError(t, p.Write(dir))
		return dir
	}
	f := newFake(t) // it was about to be made
	res, _ := f.live(job.Spec{Dir: before(f, job.Progress{})})
	require.Equal(t, job.Result{}, res)
	require.Len(t, f.made, 1)
	require.Equal(t, 1, f.starts)

	f = newFake(t) // it was made
	f.made = []created{{}}
	res, _ = f.live(job.Spec{Dir: before(f, job.Progress{})})
	require.Equal(t, job.Result{}, res)
	require.Equal(t, 1, f.starts)

	f = newFake(t) // it was removed
	res, _ = f.live(job.Spec{Dir: before(f, job.Progress{Started: true})})
	require.Contains(t, res.Lost, "was removed")
	require.Empty(t, f.made, "it is never started again")

	f = newFake(t)
	f.startErr = `exec: "train": executable file not found in $PATH`
	res, _ = f.live(job.Spec{})
	require.Contains(t, res.Failed, "executable file not found")
	require.Equal(t, 127, res.Exit)
}

// TestEngines: the one that is named is the only one; who may not use one is told who may.
func TestEngines(t *testing.T) {
	env := func(kv ...string) func(string) string {
		return func(k string) string {
			for _, v := range kv {
				if name, value, _ := strings.Cut(v, "="); name == k {
					return value
				}
			}
			return ""
		}
	}
	list, named := places("/a/b.sock", env("DOCKER_HOST=unix:///c"))
	require.Equal(t, []string{"unix:///a/b.sock"}, list)
	require.True(t, named)
	list, _ = places("", env("DOCKER_HOST=unix:///c", "CONTAINER_HOST=unix:///d"))
	require.Equal(t, []string{"unix:///c"}, list)
	list, named = places("", env("XDG_RUNTIME_DIR=/run/user/7"))
	require.Equal(t, []string{"unix:///var/run/docker.sock", "unix:///run/user/7/podman/podman.sock",
		"unix:///run/user/7/docker.sock", "unix:///run/podman/podman.sock"}, list)
	require.False(t, named)

	path := filepath.Join(t.TempDir(), "s")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	err := unreached(socket+path, fmt.Errorf("dial: %w", os.ErrPermission))
	require.ErrorContains(t, err, "you may not use the container engine at "+path)
	require.Contains(t, err.(*problem).hint, "sudo usermod -aG")
	_, err = find(context.Background(), path+"x", env())
	require.ErrorContains(t, err, "there is no socket "+path+"x")
	_, err = namedImage("a b")
	require.ErrorContains(t, err, `"a b" is no name of an image`)
}

var namedImage = named

// TestCredentials: of a helper, and of Podman's own file; a helper that fails is said.
func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	helper := filepath.Join(dir, "docker-credential-box")
	require.NoError(t, os.WriteFile(helper, []byte("#!/bin/sh\nread name\n[ \"$name\" = help.example.com ] || { echo credentials not found in native keychain; exit 1; }\n"+
		`echo '{"ServerURL":"help.example.com","Username":"h","Secret":"s"}'`+"\n"), 0o700))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	docker, podman := filepath.Join(dir, "config.json"), filepath.Join(dir, "auth.json")
	require.NoError(t, os.WriteFile(docker, []byte(`{"credHelpers":{"help.example.com":"box","no.example.com":"none"},
"auths":{"https://index.docker.io/v1/":{"auth":"aHViOnA="}}}`), 0o600))
	require.NoError(t, os.WriteFile(podman, []byte(`{"auths":{"pod.example.com":{"auth":"cG9kOnA="}}}`), 0o600))
	c := credentials{filepath.Join(dir, "none"), docker, podman}
	for domain, user := range map[string]string{"help.example.com": "h", "docker.io": "hub", "pod.example.com": "pod",
		"other.example.com": ""} {
		header, err := c.header(t.Context(), domain)
		require.NoError(t, err, domain)
		if user == "" {
			require.Empty(t, header)
			continue
		}
		got, err := authconfig.Decode(header)
		require.NoError(t, err)
		require.Equal(t, user, got.Username)
	}
	_, err := c.header(t.Context(), "no.example.com")
	require.ErrorContains(t, err, "docker-credential-none")
	require.NoError(t, os.WriteFile(docker, []byte("{"), 0o600))
	header, err := c.header(t.Context(), "pod.example.com")
	require.NoError(t, err)
	require.NotEmpty(t, header, "one file that can't be read is not in the way of another")
	_, err = c.header(t.Context(), "other.example.com")
	require.ErrorContains(t, err, docker)
}

// TestUsage reads both versions of control groups.
func TestUsage(t *testing.T) {
	root := t.TempDir()
	put := func(path, text string) {
		path = filepath.Join(root, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	put("a/b/memory.events", "low 0\noom 2\noom_kill 3\noom_group_kill 1\n")
	put("a/b/memory.peak", "4096\n")
	put("a/b/cpu.stat", "usage_usec 1500000\nuser_usec 1\n")
	u := &usage{root: root}
	u.of([]byte("0::/a/b\n"))
	u.look()
	require.Equal(t, []any{int64(3), int64(4096), 1.5}, []any{u.killed, u.peak, u.used.Seconds()})

	put("memory/c/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
	put("memory/c/memory.max_usage_in_bytes", "8192\n")
	put("cpuacct/c/cpuacct.usage", "2500000000\n")
	u = &usage{root: root}
	u.of([]byte("12:cpu,cpuacct:/c\n4:memory:/c\n0::/x\n"))
	u.look()
	require.Equal(t, []any{int64(1), int64(8192), 2.5}, []any{u.killed, u.peak, u.used.Seconds()})
	require.NoError(t, os.RemoveAll(filepath.Join(root, "memory")))
	u.look()
	require.EqualValues(t, 1, u.killed, "what was seen is kept")
	u = &usage{root: root}
	u.of([]byte("4:memory:/\n0::/../a\n")) // all of the system's, or what is none
	u.look()
	require.Zero(t, u.peak)
}

func FuzzUsage(f *testing.F) {
	f.Add([]byte("12:cpu,cpuacct:/c\n4:memory:/c\n0::/x\n"))
	f.Fuzz(func(t *testing.T, b []byte) { (&usage{root: "/nowhere"}).of(b) })
}

// TestALogFile has what Podman's own API says of the same log.
func TestALogFile(t *testing.T) {
	const file = "2026-12-01T11:39:15.6+00:00 stdout F a\n2026-12-01T11:39:15.6+00:00 stdout P b\n" +
		"2026-12-01T11:39:15.6+00:00 stderr F e \n2026-12-01T11:39:15.8+00:00 stdout F cx\n" +
		"2026-12-01T11:39:15.8+00:00 stdout P y\x00z\xff\r\n2026-12-01T11:39:15.8+00:00 stdout F \nno line\n" +
		"2026-12-01T11:39:15.8+00:00 stdout P end\n2026-12-01T11:39:15.8+00:00 stdout F not yet who"
	const want = "a\nbe \ncx\ny\x00z\xff\r\nend"
	var out strings.Builder
	require.NoError(t, copyFile(t.Context(), strings.NewReader(file), &out, false))
	require.Equal(t, want, out.String())
	out.Reset()
	require.NoError(t, copyFile(t.Context(), iotest.OneByteReader(strings.NewReader(file)), &out, false))
	require.Equal(t, want, out.String())
	long := strings.Repeat("x", 200_000)
	out.Reset()
	require.NoError(t, copyFile(t.Context(), strings.NewReader("t stdout F "+long+"\n"), &out, false))
	require.Equal(t, long+"\n", out.String())
}

func FuzzLogLine(f *testing.F) {
	f.Add([]byte("2026-12-01T11:39:15.6+00:00 stdout F a\n"))
	f.Add([]byte("x y P "))
	f.Fuzz(func(t *testing.T, b []byte) {
		var out strings.Builder
		require.NoError(t, writeLine(&out, b))
		require.LessOrEqual(t, out.Len(), len(b))
	})
}

func FuzzUnframe(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x02a\n\x02\x00\x00\x00\x00\x00\x00\x01b"))
	f.Add([]byte("\x03\x00\x00\x00\x00\x00\x00\x02no"))
	f.Add([]byte("\x01\x00\x00\x00\xff\xff\xff\xffa"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var ours, theirs strings.Builder
		if unframe(bytes.NewReader(b), &ours) != nil {
			return // Docker's own takes all the memory that a frame says it has
		}
		_, err := stdcopy.StdCopy(&theirs, &theirs, bytes.NewReader(b))
		require.NoError(t, err)
		require.Equal(t, theirs.String(), ours.String())
	})
}

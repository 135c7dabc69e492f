package inside

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

func TestActiveEnvironment(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ path, conda, venv, wantConda, wantVenv string }{
		{path: "/usr/bin"},
		{path: "/c/bin:/usr/bin", conda: "/c", wantConda: "/c"},
		{path: "/v/bin:/c/bin", conda: "/c", venv: "/v", wantVenv: "/v"},
		{path: "/c/bin:/v/bin", conda: "/c", venv: "/v", wantConda: "/c"},
		{path: "/usr/bin", conda: "/c", venv: "/v", wantVenv: "/v"},
	} {
		conda, venv := activeEnvironment(func(name string) string {
			return map[string]string{"PATH": c.path, "CONDA_PREFIX": c.conda, "VIRTUAL_ENV": c.venv}[name]
		})
		require.Equal(t, []string{c.wantConda, c.wantVenv}, []string{conda, venv}, "%+v", c)
	}
}

// TestRun runs the berth of an instance against an agent that takes jobs, and refuses a folder.
func TestRun(t *testing.T) {
	dir, err := os.MkdirTemp("", "bi") // a short path
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	require.NoError(t, err)
	var got api.JobRequest
	var home api.Home
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/jobs", func(w http.ResponseWriter, r *http.Request) {
		got, home = api.JobRequest{}, api.HomeOf(r.Header)
		if err := api.ReadJSON(r, &got); err != nil || strings.HasSuffix(got.Workdir, "/none") {
			api.WriteError(w, api.Errorf(api.CodeUsage, "there is no such folder").WithHint("make it"))
			return
		}
		id := "7"
		api.WriteJSON(w, 200, api.Job{ID: &id, Reason: "behind 2 jobs"})
	})
	told := ""
	mux.HandleFunc("GET /v1/jobs", func(w http.ResponseWriter, r *http.Request) {
		id, next := "9", "9"
		if r.URL.Query().Get("page") != "" {
			id, next = "8", ""
		}
		code := 4
		api.WriteJSON(w, 200, api.JobPage{Next: next, Jobs: []api.Job{{ID: &id, Name: "train\x1b[2J", State: api.JobFailed,
			ExitCode: &code}}})
	})
	mux.HandleFunc("GET /v1/jobs/{id}", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		code := len(id)
		job := api.Job{ID: &id, State: api.JobFailed, ExitCode: &code, Seq: 2}
		switch {
		case id == "none":
			api.WriteError(w, api.Errorf(api.CodeNotFound, "there is no job none"))
			return
		case id == "1":
			job.State = api.JobSucceeded
		case r.URL.Query().Get("after") == "-1":
			job.State, job.Seq = api.JobRunning, 1
		}
		api.WriteJSON(w, 200, job)
	})
	mux.HandleFunc("POST /v1/jobs/{id}/{verb}", func(w http.ResponseWriter, r *http.Request) {
		told += r.PathValue("verb") + " " + r.PathValue("id") + ";"
		api.WriteJSON(w, 200, api.Job{})
	})
	srv := &http.Server{Handler: mux}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	t.Setenv("CONDA_PREFIX", "")
	t.Setenv("VIRTUAL_ENV", "/an env")
	t.Setenv(api.AgentVariable, "")
	call := func(args ...string) (out, said string, code int) {
		var o, e strings.Builder
		code = Main(args, &o, &e)
		return o.String(), e.String(), code
	}
	_, said, code := call("run", "--", "true")
	require.Equal(t, 2, code)
	require.Contains(t, said, "no terminal of an instance")
	t.Setenv(api.AgentVariable, filepath.Join(dir, "s"))

	out, said, code := call("run", "--name", "mine", "--env", "A=b", "--env", "C=d", "--gpus", "0", "--timeout", "1m", "--workdir",
		"below", "--", "python", "train.py", "--lr", "1")
	require.Zero(t, code, said)
	require.Equal(t, "7\n", out)
	require.Equal(t, "berth: behind 2 jobs\n", said)
	here, err := os.Getwd()
	require.NoError(t, err)
	zero := 0
	want := api.JobRequest{UUID: got.UUID, Name: "mine", Argv: []string{"python", "train.py", "--lr", "1"},
		Workdir: filepath.Join(here, "below"), Env: []string{"A=b", "C=d"}, Venv: "/an env", GPUs: &zero, TimeoutSeconds: 60}
	require.Equal(t, want, got)
	require.Len(t, got.UUID, 36)
	require.Equal(t, api.InsideID, home.ID)

	_, said, code = call("run", "--workdir", "none", "--", "true")
	require.Equal(t, 2, code)
	require.Equal(t, "berth: there is no such folder\nberth: make it\n", said)
	for _, args := range [][]string{{}, {"ls"}, {"run"}, {"run", "--nonsense", "--", "true"}} {
		_, said, code = call(args...)
		require.Equal(t, 2, code, args)
		require.Contains(t, said, "berth: ", args)
	}
	out, said, code = call("job", "ls")
	require.Zero(t, code, said)
	require.Contains(t, out, "9   train")
	require.Contains(t, out, "exit code 4")
	require.NotContains(t, out, "\x1b")
	require.Contains(t, said, "--all")
	out, _, _ = call("job", "--all", "ls")
	require.Contains(t, out, "\n8 ")
	out, _, code = call("job", "show", "--json", "333")
	require.Zero(t, code)
	require.Contains(t, out, `"id": "333"`)
	_, said, code = call("job", "wait", "1", "333", "22")
	require.Equal(t, 3, code, said)
	require.Contains(t, said, "job 22: failed exit code 2")
	_, said, code = call("job", "cancel", "4", "5")
	require.Zero(t, code, said)
	require.Equal(t, "cancel 4;cancel 5;", told)
	_, _, code = call("job", "show", "none")
	require.Equal(t, 3, code)
	for _, args := range []string{"", "retry 3", "ls 3", "show", "show 1 2", "wait", "logs", "logs 1 --nonsense",
		"logs 1 --tail -3"} {
		_, said, code = call(append([]string{"job"}, strings.Fields(args)...)...)
		require.Equal(t, 2, code, args)
		require.Contains(t, said, "berth: ", args)
	}
	_, said, code = call("job", "--help")
	require.Zero(t, code)
	require.Contains(t, said, "usage: berth job ls")
	_, said, code = call("run", "--help")
	require.Zero(t, code)
	require.Contains(t, said, "usage: berth run")
	srv.Close()
	_, _, code = call("run", "--", "true")
	require.Equal(t, 6, code)
}

package main

import (
	"encoding/json"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

// freePort is a port of TCP on which nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// TestServices: a service is kept up whoever kills it or its agent, takes no slot, is no work, comes back with the
// instance, and ends when it is cancelled.
func TestServices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	w.ok("set", "vision", "jobs.slots=1")
	blocks := w.runs("vision")
	port := freePort(t)
	id := w.submit("--service", "--port", port, "--health", "/", "--shell", "--", "exec python3 -m http.server --bind 127.0.0.1 $PORT")
	is := func(health api.Health, attempt int) func() bool {
		return func() bool {
			j := w.job("vision", id)
			return j.Health == health && j.Attempt == attempt && j.State == api.JobRunning
		}
	}
	eventually(t, "it answers, though a job has the only slot", is(api.HealthOK, 1))
	require.NotContains(t, w.ok("job", "ls", "vision"), "python3")
	require.Contains(t, w.ok("job", "ls", "vision", "--services"), "ok, port "+port)
	require.NotContains(t, w.ok("job", "ls", "vision", "--services"), "sleep")
	require.Contains(t, w.run("run", "vision", "--service", "--port", port, "--hold", "--", "true").err,
		"something listens on port "+port+" of the instance already")
	require.Contains(t, w.run("run", "vision", "--after", id, "--", "true").err, "is a service")

	w.ok("job", "cancel", "vision", blocks)
	eventually(t, "the job ends", func() bool { return w.job("vision", blocks).State.Done() })
	var in api.Instance
	require.NoError(t, json.Unmarshal([]byte(w.ok("show", "vision", "--json")), &in))
	require.Zero(t, in.Agent.Jobs, "a service is no work")

	pid, err := strconv.Atoi(strings.TrimSpace(w.ok("exec", "vision", "--", "sh", "-c", "pgrep -f '[h]ttp.server.* "+port+"$'")))
	require.NoError(t, err)
	w.killAgent(syscall.SIGKILL)
	eventually(t, "an agent that was killed costs nothing", is(api.HealthOK, 1))
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	eventually(t, "it is seen that it has ended", func() bool { return w.job("vision", id).Health == api.HealthFailing })
	require.Contains(t, w.job("vision", id).Reason, "it has ended (signal KILL), and is started again")
	eventually(t, "it is started again", is(api.HealthOK, 2))

	w.ok("stop", "vision") // without a question
	w.ok("start", "vision")
	eventually(t, "it comes back with its instance", is(api.HealthOK, 3))
	require.Contains(t, w.ok("job", "logs", "vision", id), "GET / HTTP")

	wrong := w.submit("--service", "--port", freePort(t), "--", "sleep", "1000")
	eventually(t, "it is said what is missing", func() bool {
		j := w.job("vision", wrong)
		return j.Health == api.HealthStarting && strings.Contains(j.Reason, "connection refused")
	})
	w.ok("job", "cancel", "vision", id, wrong)
	eventually(t, "it ends for good", func() bool {
		a, b := w.job("vision", id), w.job("vision", wrong)
		return a.State == api.JobCancelled && b.State == api.JobCancelled && a.Health == "" && a.Attempt == 3
	})
}

// TestServicesOnOnePort: one that does not listen is not well because another one does.
func TestServicesOnOnePort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	port := freePort(t)
	first := w.submit("--service", "--port", port, "--", "python3", "-m", "http.server", "--bind", "127.0.0.1", port)
	eventually(t, "the first is well", func() bool { return w.job("vision", first).Health == api.HealthOK })
	second := w.submit("--service", "--port", port, "--", "sleep", "1000")
	eventually(t, "it is said who has the port", func() bool {
		j := w.job("vision", second)
		return j.Health == api.HealthStarting && strings.Contains(j.Reason, "on its port listens python3 -m http.server")
	})
	w.ok("job", "cancel", "vision", first, second)
}

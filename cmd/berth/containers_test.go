//go:build containers

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"berth/backend/agent/engine/enginetest"
	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
)

// TestContainersByHand: a job with an image from the command line, over the death of its agent.
func TestContainersByHand(t *testing.T) {
	p := enginetest.Start(t)
	w := newWorld(t)
	w.ok("create", "vision")
	w.ok("set", "vision", "jobs.container_engine="+p.Socket)
	script := `i=0; while [ $i -lt 150 ]; do echo line $i; i=$((i+1)); sleep 0.01; done; exit 3`
	id := w.submit("--image", enginetest.Image, "--", "sh", "-c", script)
	cmd := w.cmd(t.Context(), "job", "logs", "vision", id, "--follow")
	var out bytes.Buffer
	cmd.Stdout = &out
	require.NoError(t, cmd.Start())
	for range 2 {
		time.Sleep(500 * time.Millisecond)
		w.killAgent(syscall.SIGKILL)
	}
	require.NoError(t, cmd.Wait())
	var want strings.Builder
	for i := range 150 {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	require.Equal(t, want.String(), out.String())
	require.Equal(t, 3, w.run("job", "wait", "vision", id).code)
	var job api.Job
	require.NoError(t, json.Unmarshal([]byte(w.ok("job", "show", "vision", id, "--json")), &job))
	require.Equal(t, enginetest.Image, job.Requested.Image)
	require.Contains(t, w.ok("job", "show", "vision", id), "image      "+enginetest.Image)

	script = `trap 'echo saved; exit 0' TERM; echo ready; while :; do sleep 0.01; done`
	id = w.submit("--image", enginetest.Image, "--shell", script)
	eventually(t, "it runs", func() bool { return strings.Contains(w.ok("job", "logs", "vision", id), "ready") })
	w.ok("job", "cancel", "vision", id)
	require.Equal(t, 130, w.run("job", "wait", "vision", id).code)
	require.Equal(t, "ready\nsaved\n", w.ok("job", "logs", "vision", id))
	array := w.submit("--image", enginetest.Image, "--param", "k=a,b", "--", "echo", "{k}")
	require.Zero(t, w.run("job", "wait", "vision", array).code)
	require.Equal(t, "b\n", w.ok("job", "logs", "vision", array+"_1"))
	again := strings.TrimSpace(w.ok("job", "retry", "vision", id))
	eventually(t, "it runs again "+again, func() bool { return strings.Contains(w.ok("job", "logs", "vision", id), "ready") })

	// A service in a container listens on a port of the instance, and is kept up.
	port := freePort(t)
	up := w.submit("--image", enginetest.Image, "--service", "--port", port, "--health", "/x", "--", "sh", "-c",
		`trap 'exit 0' TERM; mkdir /tmp/www && echo well >/tmp/www/x; busybox httpd -f -p 127.0.0.1:$PORT -h /tmp/www & wait`)
	well := func(attempt int) func() bool {
		return func() bool {
			j := w.job("vision", up)
			return j.Health == api.HealthOK && j.Attempt == attempt
		}
	}
	eventually(t, "it is well", well(1))
	require.NoError(t, exec.Command("pkill", "-KILL", "-f", "httpd -f -p 127.0.0.1:"+port).Run())
	eventually(t, "it is started again", well(2))
	w.ok("job", "cancel", "vision", up)
	require.Equal(t, 130, w.run("job", "wait", "vision", up).code)
	w.ok("rm", "-y", "vision") // with all that runs on it
	eventually(t, "no container is left", func() bool { return len(p.Names()) == 0 })
}

// TestContainersOnAnotherHost: the small agent there gets what runs containers at the first job that needs it.
func TestContainersOnAnotherHost(t *testing.T) {
	p := enginetest.Start(t)
	dir := t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "berth-engine"), "berth/cmd/berth-engine")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	b, err := build.CombinedOutput()
	require.NoError(t, err, string(b))
	b, err = os.ReadFile(filepath.Join(dir, "berth-engine"))
	require.NoError(t, err)
	z, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "packed"), z.EncodeAll(b, nil), 0o600))

	w, s := remoteWorld(t, sshdtest.Options{})
	w.env = append(w.env, "BERTH_TEST_ENGINE="+filepath.Join(dir, "none"))
	w.ok("adopt", "vision", "gpu1", "--host-key", fingerprint(s))
	w.ok("set", "vision", "jobs.container_engine="+p.Socket)
	r := w.run("run", "vision", "--image", enginetest.Image, "--", "true")
	require.Equal(t, 2, r.code)
	require.Contains(t, r.err, "no program that runs containers")
	w.ok("daemon", "stop")
	w.env[len(w.env)-1] = "BERTH_TEST_ENGINE=" + filepath.Join(dir, "packed")
	for range 2 {
		id := w.submit("--image", enginetest.Image, "--", "sh", "-c", "echo hi; exit 4")
		require.Equal(t, 4, w.run("job", "wait", "vision", id).code)
		require.Equal(t, "hi\n", w.ok("job", "logs", "vision", id))
	}
}

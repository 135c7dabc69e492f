package main

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
)

// linked is this program under its name, for what runs on an instance.
func linked(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	link := filepath.Join(t.TempDir(), "berth")
	require.NoError(t, os.Symlink(exe, link))
	return link
}

// TestJobsFromInside: on an instance, verbs of jobs need no name, and call its agent and no daemon. The job runs in the
// folder, and with the virtual environment, of who submitted it.
func TestJobsFromInside(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(t *testing.T) *world{
		"local": func(t *testing.T) *world {
			w := newWorld(t)
			w.ok("create", "gpu1")
			return w
		},
		"over SSH": func(t *testing.T) *world {
			w, s := remoteWorld(t, sshdtest.Options{})
			w.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
			return w
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, berth := make(t), linked(t)
			dir, none := t.TempDir(), filepath.Join(t.TempDir(), "none")
			env := filepath.Join(dir, "the env")
			require.NoError(t, os.MkdirAll(filepath.Join(env, "bin"), 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(env, "bin", "python"), nil, 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(env, "bin", "activate"), []byte("export ACTIVE=\"$1\"\n"), 0o600))
			inside := func(args ...string) result {
				return w.run(append([]string{"exec", "gpu1", "--", "env", "BERTH_HOME=" + none, "VIRTUAL_ENV=" + env, "sh", "-c",
					`cd "$0" && exec "$@"`, dir, berth}, args...)...)
			}
			r := inside("run", "--", "sh", "-c", `pwd; echo "$ACTIVE"`)
			require.Zero(t, r.code, r.err)
			id := strings.TrimSpace(r.out)
			require.Equal(t, "1", id)
			require.Zero(t, inside("job", "wait", id).code)
			require.Equal(t, dir+"\n"+env+"\n", inside("job", "logs", id).out)
			var j api.Job
			r = inside("job", "show", id, "--json")
			require.NoError(t, json.Unmarshal([]byte(r.out), &j), r.err)
			require.Contains(t, j.SubmittedBy, "@")
			require.Equal(t, dir, j.Workdir)

			r = inside("run", "--hold", "--", "true")
			require.Equal(t, "2\n", r.out, r.err)
			require.Zero(t, inside("job", "priority", "2", "7").code)
			require.Zero(t, inside("job", "cancel", "2").code)
			require.Contains(t, inside("job", "ls").out, "cancelled")
			require.Equal(t, 3, inside("run", "--follow", "--workdir", "the env", "--", "sh", "-c", "exit 3").code)
			require.Equal(t, env, w.job("gpu1", "3").Workdir, "the daemon sees the same queue")
			require.NoDirExists(t, none, "no daemon is started there")
			b, err := os.ReadFile(filepath.Join(strings.Split(j.LogPath, "/jobs/")[0], "homes.json"))
			require.NoError(t, err)
			require.NotContains(t, string(b), api.InsideID, "who asks from inside is no further home that uses the agent")
		})
	}
}

// TestJobsNeedANameOutside: elsewhere the name is missed, in words.
func TestJobsNeedANameOutside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, args := range []string{"run -- true", "job ls", "job show 1", "job cancel 1", "job priority 1 5"} {
		r := w.run(strings.Fields(args)...)
		require.Equal(t, 2, r.code, args)
		require.Contains(t, r.err, "name of an instance is missing", args)
	}
}

// TestBerthIsThereInATerminal: a shell of an instance on which nobody has installed Berth has a berth that submits jobs
// to it, in the folder that the shell is in, also a login bash whose start-up files set PATH anew.
func TestBerthIsThereInATerminal(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("there is no bash")
	}
	w, s := remoteWorld(t, sshdtest.Options{})
	require.NoError(t, os.WriteFile(filepath.Join(s.Home, ".bash_profile"), []byte("PATH=/usr/bin:/bin\n"), 0o600))
	w.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
	cmd := w.cmd(t.Context(), "ssh", "gpu1")
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 200})
	require.NoError(t, err)
	defer tty.Close()
	dir := t.TempDir()
	_, err = tty.WriteString("exec bash -l\ncd " + dir + "\nberth run -- sh -c 'pwd >place'\n")
	require.NoError(t, err)
	go func() { _, _ = io.Copy(io.Discard, tty) }() // ends with the terminal
	eventually(t, "the job has run there", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "place"))
		return err == nil && string(b) == dir+"\n"
	})
	require.Equal(t, dir, w.job("gpu1", "1").Workdir)
	_, err = tty.WriteString("exit\n")
	require.NoError(t, err)
	_ = cmd.Wait() // as the shell ended
}

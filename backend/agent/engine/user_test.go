//go:build containers

package engine

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	job "berth/backend/agent/container"
	"berth/backend/agent/engine/enginetest"
)

// TestAnotherUsersContainer: what a container of an ordinary user writes is that user's, also where the engine is
// root's.
func TestAnotherUsersContainer(t *testing.T) {
	p := enginetest.Start(t)
	dir, err := os.MkdirTemp("", "job")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program := filepath.Join(dir, "berth-engine")
	build := exec.Command("go", "build", "-trimpath", "-o", program, "berth/cmd/berth-engine")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	const uid, gid, other = 12345, 12346, 12347
	require.NoError(t, os.Chown(dir, uid, gid))
	as := func(word, script string) (string, error) {
		spec := job.Spec{Name: "berth-1.1.ab", Image: enginetest.Image, Dir: dir, Host: p.Socket, Workdir: dir,
			Mounts: []string{dir}, Home: dir, Shm: 1 << 20}
		args, err := spec.Args(word, []string{"sh", "-c", script})
		require.NoError(t, err)
		cmd := exec.Command(program, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: []uint32{other}}}
		log, err := os.Create(filepath.Join(dir, "log"))
		require.NoError(t, err)
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log
		err = cmd.Run()
		b, rerr := os.ReadFile(log.Name())
		require.NoError(t, rerr)
		return string(b), err
	}
	require.NoError(t, os.Chmod(filepath.Dir(p.Socket), 0o755))
	require.NoError(t, os.Chmod(p.Socket, 0o600))
	said, err := as(job.WordCheck, "")
	require.NoError(t, err)
	var a job.Answer
	require.NoError(t, json.Unmarshal([]byte(said), &a))
	require.Contains(t, a.Problem, "you may not use the container engine at "+p.Socket)
	require.Contains(t, a.Hint, "its group root may")

	require.NoError(t, os.Chmod(p.Socket, 0o666))
	said, err = as(job.WordRun, `id -u; id -g; id -G; echo $HOME; echo x > made`)
	require.NoError(t, err, said)
	require.Equal(t, "12345\n12346\n12346 12347\n"+dir+"\n", strings.ReplaceAll(said, "12347 12346", "12346 12347"))
	fi, err := os.Stat(filepath.Join(dir, "made"))
	require.NoError(t, err)
	st := fi.Sys().(*syscall.Stat_t)
	require.Equal(t, []uint32{uid, gid}, []uint32{st.Uid, st.Gid})
}

package run

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/queue"
)

// conda plays what conda prints for an activation: `conda shell.posix activate NAME` of 24.11, shortened.
const conda = `#!/bin/sh
root=$(cd "$(dirname "$0")/.." && pwd)
case "$1 $2" in
"env list") printf '{"envs": ["%s", "%s", "/elsewhere/envs/told"]}\n' "$root" "$root/envs/my env" ;;
"shell.posix activate")
  case $3 in /*) p=$3 ;; base) p=$root ;; *) p=$root/envs/$3 ;; esac
  [ -d "$p/conda-meta" ] || { echo "EnvironmentNameNotFound: Could not find conda environment: $3" >&2; exit 1; }
  echo "PS1='($3) '"
  echo "export PATH='$p/bin:$PATH'"
  echo "export CONDA_PREFIX='$p'"
  echo "export CONDA_SHLVL='1'"
  echo "unset FROM_BASE"
  for h in "$p"/etc/conda/activate.d/*.sh; do [ -e "$h" ] && echo ". \"$h\""; done; : ;;
*) echo "conda: $*" >&2; exit 2 ;;
esac
`

func file(t *testing.T, mode os.FileMode, text string, path ...string) string {
	t.Helper()
	p := filepath.Join(path...)
	require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
	require.NoError(t, os.WriteFile(p, []byte(text), mode))
	return p
}

// withConda puts a conda with an environment "my env" into the home.
func withConda(t *testing.T, w *world) (prefix string) {
	t.Helper()
	root := filepath.Join(w.Options.Home, "miniforge3")
	prefix = filepath.Join(root, "envs", "my env")
	file(t, 0o755, conda, root, "bin", "conda")
	for _, p := range []string{root, prefix} {
		require.NoError(t, os.MkdirAll(filepath.Join(p, "conda-meta"), 0o755))
	}
	file(t, 0o755, "#!/bin/sh\necho the environment\\'s program\n", prefix, "bin", "prog")
	file(t, 0o644, `echo a hook speaks; echo "and complains" >&2; set -- clobbered; export HOOKED="two
lines"; false`, prefix, "etc", "conda", "activate.d", "a b.sh")
	return prefix
}

func TestCondaEnvironments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	prefix := withConda(t, w)
	w.agent.Env = append(w.agent.Env, "FROM_BASE=1")
	w.next()
	q := w.script(1, `prog; env -0`)
	q.Spec.Conda = "my env"
	q.Spec.Env = []string{"MINE=1", "BASH_FUNC_f%%=() {  echo f\n}", "B=\xff"}
	require.NoError(t, Check(t.Context(), w.host(nil), q.Spec))
	w.Start(w.ctx, q)
	require.Zero(t, w.ended(q).Exit, log(q))
	out := log(q)
	require.True(t, strings.HasPrefix(out, "the environment's program\n"), out)
	for _, want := range []string{"HOOKED=two\nlines", "CONDA_PREFIX=" + prefix, "MINE=1", "FROM_LOGIN=a\nb", "B=\xff",
		"PATH=" + prefix + "/bin:"} {
		require.Contains(t, out, want+"", "%q", out)
	}
	require.NotContains(t, out, "FROM_BASE")
	require.NotContains(t, out, "PS1")
	require.NotContains(t, out, "a hook speaks")

	for n, path := range []string{"base", "./miniforge3/envs/my env", prefix, "~/miniforge3/envs/my env"} {
		q := w.script(int64(10+n), "true")
		q.Spec.Conda = path
		require.NoError(t, Check(t.Context(), w.host(nil), q.Spec), path)
		w.Start(w.ctx, q)
		require.Zero(t, w.ended(q).Exit, path)
	}
	// Told by conda, but gone.
	q = w.script(20, "true")
	q.Spec.Conda = "told"
	require.NoError(t, Check(t.Context(), w.host(nil), q.Spec))
	w.Start(w.ctx, q)
	e := w.ended(q)
	require.Equal(t, 126, e.Exit)
	require.Contains(t, e.Failed, "activating the conda environment told")
	require.Contains(t, e.Failed, "EnvironmentNameNotFound")
	for name, want := range map[string]string{"other": `no conda environment "other"; there are: base, my env, told`,
		"/nowhere": "there is no conda environment in /nowhere"} {
		require.ErrorContains(t, Check(t.Context(), w.host(nil), queue.Spec{Conda: name}), want)
		q := w.script(21, "true")
		q.Spec.Conda, q.Attempt = name, len(name)
		w.Start(w.ctx, q)
		require.Contains(t, w.ended(q).Failed, want)
	}
	require.NoError(t, os.RemoveAll(filepath.Join(w.Options.Home, "miniforge3")))
	if _, err := exec.LookPath("conda"); err != nil {
		require.ErrorContains(t, Check(t.Context(), w.host(nil), queue.Spec{Conda: "base"}), "there is no conda")
	}
}

func TestVirtualEnvironments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	venv := filepath.Join(w.Options.Workdir, "my venv")
	if out, err := exec.Command("python3", "-m", "venv", "--without-pip", venv).CombinedOutput(); err != nil {
		t.Skipf("python3 makes no virtual environment: %v: %s", err, out)
	}
	q := w.job(1, "python", "-c", "import os, sys, json; print(json.dumps([sys.prefix, os.environ.get('VIRTUAL_ENV')]))")
	q.Spec.Venv = "my venv"
	require.NoError(t, Check(t.Context(), w.host(nil), q.Spec))
	w.Start(w.ctx, q)
	require.Zero(t, w.ended(q).Exit, log(q))
	var got []string
	require.NoError(t, json.Unmarshal([]byte(log(q)), &got))
	require.Equal(t, []string{venv, venv}, got)

	require.ErrorContains(t, Check(t.Context(), w.host(nil), queue.Spec{Venv: "nothing"}),
		"there is no virtual environment "+filepath.Join(w.Options.Workdir, "nothing"))
	require.ErrorContains(t, Check(t.Context(), w.host(nil), queue.Spec{Venv: venv, Conda: "base"}), "give one")
	for _, python := range []string{"python", "python3"} {
		_ = os.Remove(filepath.Join(venv, "bin", python))
	}
	require.ErrorContains(t, Check(t.Context(), w.host(nil), queue.Spec{Venv: venv}), "its Python is gone")
	file(t, 0o644, "echo no such luck >&2; exit 3", venv, "bin", "activate")
	file(t, 0o755, "", venv, "bin", "python")
	q = w.job(2, "true")
	q.Spec.Venv = venv
	w.Start(w.ctx, q)
	require.Contains(t, w.ended(q).Failed, "exit status 3: no such luck")
}

// An activation that hangs ends with the job that waits for it.
func TestAnActivationThatHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	venv := filepath.Join(w.Options.Workdir, "v")
	began := filepath.Join(w.Options.Workdir, "began")
	file(t, 0o644, "touch "+began+"; sleep 1000", venv, "bin", "activate")
	file(t, 0o755, "", venv, "bin", "python")
	q := w.job(1, "true")
	q.Spec.Venv = venv
	w.Start(w.ctx, q)
	w.t.Helper()
	for _, err := os.Stat(began); err != nil; _, err = os.Stat(began) {
		require.NoError(t, t.Context().Err())
	}
	w.Signal(w.ctx, q, queue.Signal{Name: "TERM", Scope: queue.Leader})
	require.Equal(t, "TERM", w.ended(q).Signal)
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.job(1, "sh", "-c", `printf %s "$TOKEN" | od -An -c; echo "${OTHER-unset}"`)
	q.Spec.Secrets = []string{"TOKEN"}
	s := w.Runner.secrets
	require.NoError(t, s.Sweep(nil))
	require.NoError(t, s.Keep(q.Spec.UUID, map[string]string{"TOKEN": "a\xff\nb", "OTHER": "not asked for"}))
	require.NoError(t, s.Keep("other/../..", map[string]string{"X": "1"}))
	require.Error(t, s.Keep("bad", map[string]string{"A=": "1"}))
	w.Start(w.ctx, q)
	require.Zero(t, w.ended(q).Exit)
	require.Equal(t, "   a 377  \\n   b\nunset\n", log(q))
	entries, err := os.ReadDir(s.Dir)
	require.NoError(t, err)
	require.Len(t, entries, 2)
	for _, e := range entries {
		fi, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), fi.Mode())
	}
	// They stand nowhere in the run's folder.
	grep := exec.Command("grep", "-r", "not asked for", filepath.Join(w.Options.State, "jobs"))
	out, _ := grep.CombinedOutput()
	require.Empty(t, string(out))
	require.NoError(t, s.Sweep([]string{q.Spec.UUID}))
	entries, err = os.ReadDir(s.Dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.NoError(t, s.Forget(q.Spec.UUID))
	require.NoError(t, s.Forget(q.Spec.UUID))
	q.Attempt, q.Dir = 2, q.Dir+"b"
	w.Start(w.ctx, q)
	require.Contains(t, w.ended(q).Failed, "are gone: TOKEN")
}

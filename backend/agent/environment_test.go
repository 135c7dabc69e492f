package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/server/servertest"
	"berth/backend/api"
)

// TestOneEnvironmentForAll: exec, a terminal with a command and the scripts of a set-up have the same one.
func TestOneEnvironmentForAll(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	write(t, o, ".bash_profile", `. "$HOME/.bashrc"`)
	write(t, o, ".bashrc", "export PATH=$HOME/miniconda3/bin:$PATH CONDA_PREFIX=$HOME/miniconda3\n")
	write(t, o, "miniconda3/bin/python",
		"#!/bin/sh\necho conda-python $CONDA_PREFIX $BERTH_RESOLVING\n[ ! -t 0 ] || read x # until it was seen\n")
	require.NoError(t, os.Chmod(filepath.Join(o.Home, "miniconda3/bin/python"), 0o700))
	_, c := serve(t, o)
	want := "conda-python " + o.Home + "/miniconda3"
	r, err := execute(t, c, api.ExecRequest{Argv: []string{"python", "train.py"}}, "")
	require.NoError(t, err)
	require.Equal(t, want+"\n", r.Stdout)
	servertest.Attach(t, c, api.TerminalRequest{New: true, Argv: []string{"python"}}).Sees(want + "\r\n")
	_, err = c.PutSetup(t.Context(),
		api.SetupPlan{ID: "a", Steps: []api.SetupStep{{Name: "s", Once: true, Script: "python >out"}}})
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, setupEnd(t, c, "a").State)
	b, err := os.ReadFile(filepath.Join(o.Home, "out"))
	require.NoError(t, err)
	require.Equal(t, want+"\n", string(b))

	// All follow what is changed.
	write(t, o, ".bashrc", "export MARK=five\n")
	term := servertest.Attach(t, c,
		api.TerminalRequest{New: true, Argv: []string{"sh", "-c", "echo it is $MARK; sleep 1000"}})
	term.Sees("it is five")
	r, err = execute(t, c, sh("echo $MARK"), "")
	require.NoError(t, err)
	require.Equal(t, "five\n", r.Stdout)
}

// TestATerminalIsALoginShell: of every shell, with what its start-up files set.
func TestATerminalIsALoginShell(t *testing.T) {
	t.Parallel()
	for shell, files := range map[string][2]string{
		"bash": {".bash_profile", "export MARK='a b\n=c'\n"},
		"zsh":  {".zprofile", "export MARK='a b\n=c'\n"},
		"dash": {".profile", "export MARK='a b\n=c'\n"},
		"ksh":  {".profile", "export MARK='a b\n=c'\n"},
		"fish": {".config/fish/config.fish", "if status is-login\n  set -gx MARK 'a b\n=c'\nend\n"},
		"tcsh": {".login", "setenv MARK 'a b\\\n=c'\n"},
	} {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skipf("%s is not installed", shell)
			}
			o := testOptions(t)
			o.Shell = path
			write(t, o, files[0], files[1])
			_, c := serve(t, o)
			a := servertest.Attach(t, c, api.TerminalRequest{New: true})
			a.Types("printenv MARK | tail -n1; echo en''d\n")
			a.Sees("=c\r\n")
		})
	}
}

func write(t testing.TB, o Options, name, text string) {
	t.Helper()
	f := filepath.Join(o.Home, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(f), 0o700))
	require.NoError(t, os.WriteFile(f, []byte(text), 0o600))
}

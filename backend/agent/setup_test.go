package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/base/atomicfile"
	"berth/gpu/procs/proc"
)

func setupEnd(t *testing.T, c *api.AgentClient, id string) api.SetupStatus {
	t.Helper()
	st, err := c.Setup(t.Context(), id, 0)
	require.NoError(t, err)
	for !st.State.Done() {
		st, err = c.Setup(t.Context(), id, st.Revision)
		require.NoError(t, err)
	}
	return st
}

// TestASetupOutlivesTheAgent kills the agent while a step runs and lets another finish the plan.
func TestASetupOutlivesTheAgent(t *testing.T) {
	o := testOptions(t)
	info, c := startDetached(t, o)
	_, err := c.Setup(t.Context(), "a", 0)
	require.ErrorIs(t, err, &api.Error{Code: api.CodeNotFound})
	_, err = c.PutSetup(t.Context(), api.SetupPlan{ID: "../a"})
	require.ErrorIs(t, err, &api.Error{Code: api.CodeUsage})
	log, release := filepath.Join(o.Home, "log"), filepath.Join(o.Home, "go")
	plan := api.SetupPlan{ID: "a", Steps: []api.SetupStep{
		{Name: "user", Once: true,
			Script: `echo "$BERTH_INSTANCE_ID $BERTH_USER_HOME $PWD" >>log; until test -e go; do sleep 0.01; done`},
		{Name: "root", Root: true, Script: `echo "$(id -u) $BERTH_INSTANCE_ID" >>"$BERTH_USER_HOME/log"`}}}
	if os.Getuid() != 0 {
		plan.Steps = plan.Steps[:1]
	}
	_, err = c.PutSetup(t.Context(), plan)
	require.NoError(t, err)
	eventually(t, "the step to begin", func() bool { _, err := os.Stat(log); return err == nil })
	require.NoError(t, syscall.Kill(info.PID, syscall.SIGKILL))
	eventually(t, "the agent to end", func() bool { _, err := proc.Identify(info.PID); return err != nil })
	require.NoError(t, os.WriteFile(release, nil, 0o600))
	_, c = startDetached(t, o)
	st := setupEnd(t, c, "a")
	require.Equal(t, api.OpSucceeded, st.State, "%+v", st)
	b, err := os.ReadFile(log)
	require.NoError(t, err)
	want := fmt.Sprintf("%s %s %s\n", o.InstanceID, o.Home, o.Workdir)
	if os.Getuid() == 0 {
		want += "0 " + o.InstanceID + "\n"
	}
	require.Equal(t, want, string(b))
	st, err = c.ResumeSetup(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, st.State)
	if os.Getuid() != 0 {
		t.Skip("needs root: for a step that is root's")
	}
}

// TestStopEndsASetup: what is stopped with all that runs on it has no step left, and the next agent says so.
func TestStopEndsASetup(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	info, c := startDetached(t, o)
	_, err := c.PutSetup(t.Context(),
		api.SetupPlan{ID: "a", Steps: []api.SetupStep{{Name: "s", Once: true, Script: "echo $$ >pid; sleep 1000"}}})
	require.NoError(t, err)
	var pid int
	eventually(t, "the step to begin", func() bool {
		b, _ := os.ReadFile(filepath.Join(o.Home, "pid"))
		_, err := fmt.Sscan(string(b), &pid)
		return err == nil && strings.HasSuffix(string(b), "\n")
	})
	require.NoError(t, c.Stop(t.Context(), api.StopRequest{End: true, GraceSeconds: 0.2}))
	_, err = proc.Identify(pid)
	require.ErrorIs(t, err, proc.ErrGone)
	eventually(t, "the agent to end", func() bool { _, err := proc.Identify(info.PID); return err != nil })
	_, c = startDetached(t, o)
	st := setupEnd(t, c, "a")
	require.Equal(t, api.OpFailed, st.State)
	require.Contains(t, st.Error.Message, "was ended from outside")
}

// TestCancelOverTheWire ends the step before it answers.
func TestCancelOverTheWire(t *testing.T) {
	o := testOptions(t)
	_, c := serve(t, o)
	_, err := c.PutSetup(t.Context(), api.SetupPlan{ID: "a", Steps: []api.SetupStep{{Name: "s", Script: "sleep 1000"}}})
	require.NoError(t, err)
	st, err := c.CancelSetup(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, api.OpCancelled, st.State)
	require.Equal(t, api.OpCancelled, setupEnd(t, c, "a").State)
}

func TestTheInventoryIsServed(t *testing.T) {
	o := testOptions(t)
	_, c := serve(t, o)
	kernel := filepath.Join(o.Home, ".local/share/jupyter/kernels/mine")
	require.NoError(t, os.MkdirAll(kernel, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(kernel, "kernel.json"),
		[]byte(`{"argv":["x"],"display_name":"Mine","language":"python"}`), 0o600))
	inv, err := c.Inventory(t.Context())
	require.NoError(t, err)
	require.Equal(t, o.Instance, inv.Instance)
	require.NotEmpty(t, inv.System)
	require.Contains(t, inv.Kernels, api.KernelSpec{Name: "mine", Title: "Mine", Language: "python", Path: kernel})
}

// TestTheStartScriptOfABoot: it is run once for a boot, also where nobody asks for it.
func TestTheStartScriptOfABoot(t *testing.T) {
	o := testOptions(t)
	_, c := startDetached(t, o)
	plan := api.SetupPlan{Steps: []api.SetupStep{{Name: "onstart", Once: true, Script: "echo started >>starts"}}}
	require.ErrorIs(t, c.KeepOnStart(t.Context(), api.SetupPlan{Steps: []api.SetupStep{{Name: "../x"}}}),
		&api.Error{Code: api.CodeUsage})
	require.NoError(t, c.KeepOnStart(t.Context(), plan))
	again := func() {
		t.Helper()
		require.NoError(t, c.Stop(t.Context(), api.StopRequest{}))
		eventually(t, "the agent to end", func() bool { _, err := c.Info(t.Context()); return err != nil })
		_, c = startDetached(t, o)
	}
	again()
	_, err := c.Setup(t.Context(), api.OnStartID(proc.BootID()), 0)
	require.ErrorIs(t, err, &api.Error{Code: api.CodeNotFound}, "this boot's start is what it was kept at")

	var kept struct {
		Boot string        `json:"boot"`
		Plan api.SetupPlan `json:"plan"`
	}
	file := filepath.Join(o.State, "onstart.json")
	require.NoError(t, atomicfile.Read(file, &kept))
	kept.Boot = "before"
	require.NoError(t, atomicfile.Write(file, kept))
	again()
	require.Equal(t, api.OpSucceeded, setupEnd(t, c, api.OnStartID(proc.BootID())).State)
	again()
	plan.ID = api.OnStartID(proc.BootID())
	st, err := c.PutSetup(t.Context(), plan)
	require.NoError(t, err)
	require.Equal(t, api.OpSucceeded, st.State, "whoever asks for the start finds it done")
	b, err := os.ReadFile(filepath.Join(o.Workdir, "starts"))
	require.NoError(t, err)
	require.Equal(t, "started\n", string(b))

	require.NoError(t, c.KeepOnStart(t.Context(), api.SetupPlan{}))
	require.NoError(t, os.WriteFile(file, []byte("{"), 0o600))
	again()
	_, err = c.Info(t.Context())
	require.NoError(t, err, "a script that can't be read keeps no agent from starting")
}

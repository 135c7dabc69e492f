package local

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/agent"
	"berth/backend/agent/process"
	"berth/backend/agent/supervise"
	"berth/backend/api"
	"berth/backend/base/atomicfile"
	"berth/backend/base/paths"
	"berth/gpu/procs/proc"
)

// stopped makes an instance and stops it.
func stopped(t *testing.T, b *Backend, name string) backend.Ref {
	t.Helper()
	ref := create(t, b, name)
	require.NoError(t, b.Stop(t.Context(), ref))
	waitState(t, b, ref, api.StateStopped)
	return ref
}

func TestConcurrentCallsMakeOneInstance(t *testing.T) {
	b := open(t, nil)
	var wg sync.WaitGroup
	ids := make([]string, 10)
	for i := range ids {
		wg.Go(func() {
			m, err := b.Create(t.Context(), backend.Spec{Token: "same", Name: "one"})
			if err != nil {
				t.Error(err)
			}
			ids[i] = m.ID
		})
	}
	wg.Wait()
	for _, id := range ids {
		require.Equal(t, ids[0], id)
	}
	ref := backend.Ref{ID: ids[0], Name: "one"}
	_, info := client(t, b, ref)
	supervisor := b.look(ref.ID).status
	for range 10 {
		wg.Go(func() {
			if err := b.Start(t.Context(), ref); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, supervisor, b.look(ref.ID).status)
	for range 10 {
		wg.Go(func() {
			if err := b.Delete(t.Context(), ref); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	waitGone(t, b, ref)
	_, err := proc.Identify(info.PID)
	require.ErrorIs(t, err, proc.ErrGone)
}

func TestACancelledContextEndsCallsAtOnce(t *testing.T) {
	b := open(t, nil)
	ref := stopped(t, b, "one")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Create(ctx, backend.Spec{Token: "new", Name: "new"})
	require.ErrorIs(t, err, context.Canceled)
	require.NoDirExists(t, b.folder(idOf("new")))
	for _, f := range []func(context.Context, backend.Ref) error{b.Start, b.Stop, b.Restart, b.Delete} {
		require.ErrorIs(t, f(ctx, ref), context.Canceled)
	}
	_, err = b.Get(ctx, ref)
	require.ErrorIs(t, err, context.Canceled)
	waitState(t, b, ref, api.StateStopped)
}

func TestARebootStopsAnInstance(t *testing.T) {
	b := open(t, nil)
	ref := stopped(t, b, "one")
	// As an earlier boot left it, which this process's own PID and start time must not be taken for.
	self, err := proc.Self()
	require.NoError(t, err)
	self.Boot = "an earlier one"
	require.NoError(t, atomicfile.Write(filepath.Join(string(b.dir(ref.ID)), "supervisor.json"),
		supervise.Status{Identity: self}))
	m := waitState(t, b, ref, api.StateStopped)
	require.Equal(t, "this computer was restarted", m.Reason)
	// What was being stopped is stopped too.
	require.NoError(t, b.dir(ref.ID).Ask(supervise.ActionStop))
	waitState(t, b, ref, api.StateStopped)
	require.NoError(t, b.Stop(t.Context(), ref))
	require.NoError(t, b.Start(t.Context(), ref))
	waitState(t, b, ref, api.StateRunning)
	client(t, b, ref)
	// What was being deleted is deleted.
	require.NoError(t, b.Stop(t.Context(), ref))
	waitState(t, b, ref, api.StateStopped)
	require.NoError(t, atomicfile.Write(filepath.Join(string(b.dir(ref.ID)), "supervisor.json"),
		supervise.Status{Identity: self}))
	require.NoError(t, b.dir(ref.ID).Ask(supervise.ActionDelete))
	waitGone(t, b, ref)
}

func TestABrokenFolderNeverHidesTheOthers(t *testing.T) {
	b := open(t, nil)
	good, bad, none := stopped(t, b, "good"), stopped(t, b, "bad"), stopped(t, b, "none")
	marker := filepath.Join(b.folder(bad.ID), supervise.MarkerName)
	require.NoError(t, os.WriteFile(marker, []byte("{\x1b[31m"), 0o600))
	require.NoError(t, os.Remove(filepath.Join(b.folder(none.ID), supervise.MarkerName)))
	require.NoError(t, os.WriteFile(filepath.Join(b.env.Home.Data, "l-000000000000"), nil, 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(b.env.Home.Data, "a folder of the user's"), 0o700))
	list, err := b.List(t.Context())
	require.NoError(t, err)
	states := map[string]api.State{}
	for _, m := range list {
		states[m.ID] = m.State
		if m.State == api.StateUnusable {
			require.NotEmpty(t, m.Reason)
		}
	}
	require.Equal(t, map[string]api.State{good.ID: api.StateStopped, bad.ID: api.StateUnusable, none.ID: api.StateUnusable,
		"l-000000000000": api.StateUnusable}, states)
	require.ErrorIs(t, b.Delete(t.Context(), bad), backend.ErrRefused)
	require.DirExists(t, b.homeOf(bad.ID))
	require.NoError(t, os.RemoveAll(b.folder(bad.ID)))
	require.NoError(t, os.RemoveAll(b.folder(none.ID)))
	require.NoError(t, os.Remove(filepath.Join(b.env.Home.Data, "l-000000000000")))
}

func TestDeleteWithASwappedSymlink(t *testing.T) {
	b := open(t, nil)
	ref := stopped(t, b, "one")
	out := t.TempDir()
	file := filepath.Join(out, "precious")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	moved := b.folder(ref.ID) + ".moved"
	require.NoError(t, os.Rename(b.folder(ref.ID), moved))
	require.NoError(t, os.Symlink(out, b.folder(ref.ID)))
	require.ErrorIs(t, b.Delete(t.Context(), ref), backend.ErrRefused)
	require.FileExists(t, file)
	require.NoError(t, os.Remove(b.folder(ref.ID)))
	require.NoError(t, os.Rename(moved, b.folder(ref.ID)))
	require.NoError(t, b.Delete(t.Context(), ref))
	waitGone(t, b, ref)
}

func TestDeleteGoesOnAfterAKill(t *testing.T) {
	b := open(t, nil)
	ref := stopped(t, b, "one")
	// Killed in the middle of the removal: renamed, half empty, the request still there.
	require.NoError(t, b.dir(ref.ID).Ask(supervise.ActionDelete))
	require.NoError(t, os.Rename(b.folder(ref.ID), supervise.Deleting(b.env.Home.Data, ref.ID)))
	list, err := b.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, api.StateDeleting, list[0].State)
	waitGone(t, b, ref)
	require.NoDirExists(t, supervise.Deleting(b.env.Home.Data, ref.ID))
}

func TestAForkBombEnds(t *testing.T) {
	b := open(t, map[string]string{"process_group": "tree"})
	ref := create(t, b, "bomb")
	c, _ := client(t, b, ref)
	// Chains that fork a successor in a session of its own and end, as fast as they can.
	output(t, c, `cat > bomb.sh <<'END'
trap '' TERM HUP
echo $$ > last
sleep 0.02
setsid /bin/sh ./bomb.sh </dev/null >/dev/null 2>&1 &
END
for i in 1 2 3 4 5 6 7 8; do setsid /bin/sh ./bomb.sh </dev/null >/dev/null 2>&1 & done`)
	require.NoError(t, b.Stop(t.Context(), ref))
	m := waitState(t, b, ref, api.StateStopped)
	require.Empty(t, m.Reason)
	set := process.Set{Mark: supervise.MarkVariable + "=" + ref.ID}
	empty, err := set.Empty()
	require.NoError(t, err)
	require.True(t, empty)
}

func TestShareBecomesTheWorkingDirectory(t *testing.T) {
	share := t.TempDir()
	b := open(t, map[string]string{"share": share})
	ref := create(t, b, "shared")
	c, _ := client(t, b, ref)
	require.Equal(t, share+"\n"+share+"\n"+b.homeOf(ref.ID)+"\n", output(t, c, "pwd; echo $BERTH_SHARE; echo $HOME"))
	m, err := b.Get(t.Context(), ref)
	require.NoError(t, err)
	require.Equal(t, share, m.Workdir)
}

func TestUpgradeOfARunningInstance(t *testing.T) {
	b := open(t, nil)
	ref := create(t, b, "upgrade")
	c, info := client(t, b, ref)
	pids := stubborn(t, c)
	exe, err := os.Executable()
	require.NoError(t, err)
	bytes, err := os.ReadFile(exe)
	require.NoError(t, err)
	newer := filepath.Join(t.TempDir(), "berth")
	require.NoError(t, os.WriteFile(newer, append(bytes, "newer"...), 0o700))
	at := time.Now().Add(time.Hour)
	require.NoError(t, os.Chtimes(newer, at, at))
	b.env.Executable = func() (string, error) { return newer, nil }
	require.NoError(t, b.Upgrade(t.Context(), ref))
	eventually(t, "the newer agent", func() bool {
		now, err := agent.NewClient(b.socket(ref.ID)).Info(t.Context())
		return err == nil && now.PID != info.PID && now.Terminals == 1
	})
	require.Len(t, living(pids), len(pids), "nothing was ended")
	require.NoError(t, b.Stop(t.Context(), ref))
	waitState(t, b, ref, api.StateStopped)
	require.Empty(t, living(pids))
}

func TestAdoptThisHost(t *testing.T) {
	b := open(t, nil)
	m, err := b.Adopt(t.Context(), backend.AdoptSpec{Token: "op", Name: "host", Local: true})
	require.NoError(t, err)
	t.Cleanup(func() {
		argv := agent.Command(must(os.Executable()), "uninstall", "--end", "--state="+b.env.Home.State+"/agent",
			"--socket="+m.Line.Socket, "--scratch="+b.env.Home.State+"/scratch")
		out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	})
	require.True(t, m.Adopted)
	require.Equal(t, api.StateRunning, m.State)
	require.False(t, m.Capabilities.Stop)
	require.NotEmpty(t, m.Capabilities.Why["stop"])
	info, err := agent.NewClient(m.Line.Socket).Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, agent.UserHome(), info.Home)
	again, err := b.Adopt(t.Context(), backend.AdoptSpec{Token: "op", Name: "host", Local: true})
	require.NoError(t, err)
	require.Equal(t, m.ID, again.ID)
	ref := backend.Ref{ID: m.ID, Name: "host"}
	for _, f := range []func(context.Context, backend.Ref) error{b.Start, b.Stop, b.Restart} {
		require.ErrorIs(t, f(t.Context(), ref), backend.ErrUnsupported)
	}
	// Its agent comes back when it is looked at.
	require.NoError(t, syscall.Kill(info.PID, syscall.SIGKILL))
	eventually(t, "the agent again", func() bool {
		_, err := b.Get(t.Context(), ref)
		require.NoError(t, err)
		now, err := agent.NewClient(m.Line.Socket).Info(t.Context())
		return err == nil && now.PID != info.PID
	})
	second, err := b.Adopt(t.Context(), backend.AdoptSpec{Token: "op2", Name: "host2", Local: true})
	require.NoError(t, err)
	require.NoError(t, b.Delete(t.Context(), ref))
	_, err = b.Get(t.Context(), ref)
	require.ErrorIs(t, err, backend.ErrNotFound)
	_, err = agent.NewClient(m.Line.Socket).Info(t.Context())
	require.NoError(t, err, "the other name needs it")
	require.NoError(t, b.Delete(t.Context(), backend.Ref{ID: second.ID, Name: "host2"}))
	_, err = agent.NewClient(m.Line.Socket).Info(t.Context())
	require.Error(t, err)
	require.NoDirExists(t, b.env.Home.State+"/agent")
	_, err = b.Adopt(t.Context(), backend.AdoptSpec{Token: "x", Name: "other", Target: "user@host"})
	require.ErrorIs(t, err, &api.Error{Code: api.CodeUsage})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestWhatTheBackendSaysOfItself(t *testing.T) {
	b := open(t, nil)
	sizes, err := b.Sizes(t.Context())
	require.NoError(t, err)
	require.Len(t, sizes, 1)
	require.True(t, sizes[0].Default)
	require.Positive(t, sizes[0].VCPUs)
	require.Positive(t, sizes[0].MemoryBytes)
	require.Positive(t, sizes[0].DiskBytes)
	require.Zero(t, *sizes[0].PriceUSD)
	_, err = json.Marshal(b.Info())
	require.NoError(t, err)
	for _, id := range []string{"../../etc", "l-../../../../", "", "l-00000000000G"} {
		_, err := b.Get(t.Context(), backend.Ref{ID: id})
		require.ErrorIs(t, err, backend.ErrNotFound, id)
	}
	_, err = New(backend.Env{Settings: map[string]string{"process_group": "magic"}})
	require.Error(t, err)
	require.NotEmpty(t, paths.MachineID())
}

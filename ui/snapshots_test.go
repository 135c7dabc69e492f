package ui_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/ui/uitest"
)

// keeps opens the snapshots of notebook, which has these.
func keeps(t *testing.T, list ...api.Snapshot) *uitest.Driver {
	t.Helper()
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.Keep("notebook", list...)
	d.To("notebook")
	d.Press("b")
	return d
}

// logged counts what was asked.
func logged(d *uitest.Driver, call string) int {
	n := 0
	for _, c := range d.WS.Log() {
		if c == call {
			n++
		}
	}
	return n
}

func TestSnapshotsAreListed(t *testing.T) {
	d := keeps(t, uitest.Kept()...)
	require.Contains(t, d.Screen(), "notebook › snapshots")
	require.Contains(t, d.Screen(), "4 snapshots")
	require.Contains(t, d.Row(), "snap-20260314-1015", "the newest is under the cursor")
	for _, has := range []string{"2026-03-14 10:15", "15m", "memory too", "current"} {
		require.Contains(t, d.Row(), has)
	}
	require.NotContains(t, d.Screen(), "\u202e")
	d.Press("g")
	require.Contains(t, d.Row(), "disk        as it was set up")
	d.Press("y", "c")
	require.Equal(t, []string{"fresh", "berth snapshot ls notebook"}, d.Copied)
	d.Press("j")
	require.Contains(t, d.Screen(), "ask her before it is deleted", "what does not fit stands whole below")
	d.Press("esc")
	require.Contains(t, d.Row(), "notebook")
	d.Press("enter", "b")
	require.Contains(t, d.Screen(), "4 snapshots", "from its page too")
	require.Contains(t, d.Screen(), "notebook › snapshots")
	d.Press("?")
	require.Contains(t, d.Screen(), "Keep the instance as it is now; asks for a name.")
}

func TestManySnapshots(t *testing.T) {
	var list []api.Snapshot
	for i := range 60 {
		list = append(list, api.Snapshot{Name: fmt.Sprintf("snap-%02d", i),
			CreatedAt: uitest.Epoch.Add(time.Duration(i-60) * time.Hour)})
	}
	d := keeps(t, list...)
	require.Contains(t, d.Row(), "snap-59")
	require.Contains(t, d.Screen(), "60/60")
	require.True(t, d.Click("snap-40"))
	require.Contains(t, d.Row(), "snap-40")
	d.Press("g", "pgdown")
	require.Contains(t, d.Row(), "snap-26")
	d.Press("a", "enter", "g")
	d.WS.Finish("op-1")
	d.Settle()
	require.Contains(t, d.Row(), "snap-00", "the cursor was moved meanwhile: it stays")
	require.Contains(t, d.Screen(), "1/61")
}

func TestSnapshotsByCommand(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.Keep("notebook", uitest.Kept()...)
	for _, line := range []string{"snapshots notebook", "rollback notebook"} {
		d.Press(":")
		d.Type(line)
		d.Press("enter")
		require.Contains(t, d.Screen(), "4 snapshots", line)
		d.Press("esc")
	}
	d.Press(":")
	d.Type("snapshots nosuch")
	d.Press("enter")
	require.Contains(t, d.Screen(), "there is no instance nosuch")
}

func TestTakingASnapshot(t *testing.T) {
	d := keeps(t)
	require.Contains(t, d.Screen(), "No snapshots yet; a takes one.")
	d.Press("a")
	require.Contains(t, d.Screen(), "Take a snapshot of notebook")
	require.Contains(t, d.Screen(), "its memory where it runs")
	require.Contains(t, d.Screen(), "snap-20260314-1030")
	d.Press("esc")
	require.Zero(t, logged(d, "snapshot notebook snap-20260314-1030"))
	d.Press("a", "enter")
	require.Equal(t, 1, logged(d, "snapshot notebook snap-20260314-1030"))
	require.Contains(t, d.Screen(), "snapshot under way for 0s: taking the snapshot")
	asked := logged(d, "snapshots notebook")
	d.WS.Finish("op-1")
	d.Settle()
	require.Equal(t, asked+1, logged(d, "snapshots notebook"), "asked again when it has ended, and once only")
	require.Contains(t, d.Row(), "→ snap-20260314-1030")
	require.NotContains(t, d.Screen(), "under way")

	// In the same minute another name is proposed; names are held to the rules.
	d.Press("a")
	require.Contains(t, d.Screen(), "snap-20260314-1030-2")
	for _, x := range []struct{ name, why string }{
		{"snap-20260314-1030", "there is a snapshot snap-20260314-1030 already"}, {"ab", "3 characters at least"},
		{"-x-", "a name begins with a letter"},
		{strings.Repeat("a", 25), "24 characters at most"}, {"a b c", "can't be in a name"},
	} {
		d.Press("ctrl+u")
		d.Type(x.name)
		d.Press("enter")
		require.Contains(t, d.Screen(), x.why)
	}
	d.Press("ctrl+u", "enter")
	require.Contains(t, d.Screen(), "it needs a name")
	d.Type("after")
	require.NotContains(t, d.Screen(), "it needs a name")
	d.Press("tab", "enter")
	require.Zero(t, logged(d, "snapshot notebook after"), "the button was Cancel")
	d.Press("a")
	d.Type("after")
	require.True(t, d.Click("[ Take it ]"))
	require.Equal(t, 1, logged(d, "snapshot notebook after"))
	d.WS.Finish("op-2")
	d.Settle()
	require.Contains(t, d.Row(), "after")
}

func TestASnapshotThatFails(t *testing.T) {
	d := keeps(t, uitest.Kept()...)
	d.WS.Fail = func(action, name string) error {
		return api.Errorf(api.CodeRefused, "%s of %s: an operation is under way", action, name).WithHint("wait for it")
	}
	d.Press("a", "enter")
	require.Contains(t, d.Screen(), "Could not take a snapshot of notebook")
	require.NotContains(t, d.Screen(), "Do it anyway")
	d.Press("esc", "enter", "y")
	require.Contains(t, d.Screen(), "Could not restore a snapshot of notebook")
	require.NotContains(t, d.Screen(), "Do it anyway")
	d.WS.Fail = nil
	d.Press("esc", "a", "enter")
	d.WS.FailOp("op-1", api.Errorf(api.CodeUnsupported, "its memory can't be kept").WithHint("stop it first"))
	d.Settle()
	require.Contains(t, d.Screen(), "The last snapshot failed: its memory can't be kept")
	require.Contains(t, d.Screen(), "stop it first")
}

func TestRestoring(t *testing.T) {
	d := keeps(t, uitest.Kept()...)
	for _, no := range []string{"enter", "esc", "n", "q"} {
		d.Press("enter")
		require.Contains(t, d.Screen(), "Take notebook back to snap-20260314-1015?")
		d.Press(no)
		require.NotContains(t, d.Screen(), "Take notebook back")
	}
	d.Press("g", "enter")
	require.Contains(t, d.Screen(), "Everything that was written since 2026-02-12 10:30 is lost")
	require.Contains(t, d.Screen(), "What runs there now ends")
	require.Contains(t, d.Screen(), "It is stopped afterwards")
	require.Contains(t, d.Screen(), "$ berth snapshot restore notebook fresh")
	d.Press("c")
	require.Equal(t, []string{"berth snapshot restore notebook fresh"}, d.Copied)
	require.Zero(t, logged(d, "restore notebook fresh"))
	d.Press("y")
	require.Equal(t, 1, logged(d, "restore notebook fresh"))
	require.Contains(t, d.Screen(), "restore under way for 0s: letting go of it")
	d.WS.Finish("op-1")
	d.Settle()
	require.Contains(t, d.Row(), "→ fresh", "the disk goes on from it")
	require.Equal(t, api.StateStopped, d.M.Subjects()[0].State)

	d.Press("enter")
	require.NotContains(t, d.Screen(), "What runs there now ends", "nothing runs")
	d.Press("esc", "j", "enter")
	require.Contains(t, d.Screen(), "It runs afterwards as it ran then.")
	d.Press("y")
	d.WS.Finish("op-2")
	d.Settle()
	require.Equal(t, api.StateRunning, d.M.Subjects()[0].State)
}

func TestARestoreThatLeftSomethingUndone(t *testing.T) {
	d := keeps(t, uitest.Kept()...)
	now := uitest.Epoch
	d.Feed.Add(api.Change{Operation: &api.Operation{ID: "op-9", Kind: "restore", InstanceID: "i-0002",
		Instance: "notebook", State: api.OpSucceeded, CreatedAt: now, EndedAt: &now,
		Warnings: []string{"the clock of notebook may be behind"}}})
	d.Settle()
	require.Contains(t, d.Screen(), "the clock of notebook may be behind")
}

func TestDeletingASnapshot(t *testing.T) {
	d := keeps(t, uitest.Kept()...)
	d.Press("g", "x")
	require.Contains(t, d.Screen(), "Delete the snapshot fresh?")
	d.Press("enter")
	require.Zero(t, logged(d, "snapshot rm notebook fresh"), "the default is no")
	d.Press("x", "y")
	require.Equal(t, 1, logged(d, "snapshot rm notebook fresh"))
	require.NotContains(t, d.Screen(), "fresh  ")
	require.Contains(t, d.Screen(), "deleting the snapshot fresh of notebook")
	require.Contains(t, d.Row(), "before-cuda-12", "the next one takes its place")

	d.WS.SnapshotErr = api.Errorf(api.CodeUnreachable, "libvirt on box does not answer")
	d.Press("x", "y")
	require.Contains(t, d.Screen(), "Could not delete a snapshot of notebook")
	d.Press("esc")
	require.Contains(t, d.Screen(), "The list may be old: libvirt on box does not answer")
	require.NotContains(t, d.Row(), "being deleted")
}

func TestSnapshotsThatCanNotBeHad(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.To("scratch")
	d.Press("b")
	require.Contains(t, d.Screen(), "No snapshots can be taken of scratch: its backend keeps no snapshots.")
	d.Press("a")
	require.NotContains(t, d.Screen(), "Take a snapshot")
	d.Press("enter", "x", "y", "ctrl+r")
	require.Empty(t, d.WS.Log(), "nobody is asked for what there can't be")
	d.Keep("scratch", uitest.Kept()...)
	require.Contains(t, d.Screen(), "4 snapshots", "it can now")
	d.Press("esc")

	in := uitest.Small(uitest.Epoch)[6]
	in.Capabilities.Why["snapshots"] = "its disk is not Berth's to keep"
	d.WS.Put(in)
	d.Settle()
	d.To(in.Name)
	d.Press("b")
	require.Contains(t, d.Screen(), "No snapshots can be taken of gpu-lab: its disk is not Berth's to keep.")
}

func TestSnapshotsThatSometimesCanNotBeTaken(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	in := uitest.Small(uitest.Epoch)[1]
	in.Capabilities.Snapshots, in.Capabilities.Why = true,
		map[string]string{"snapshots": "only the disk can be kept, while it is stopped"}
	d.WS.Put(in)
	d.Settle()
	d.To("notebook")
	d.Press("b", "a")
	require.Contains(t, d.Screen(), "Mind: only the disk can be kept, while it is stopped.")
}

func TestSnapshotsThatCanNotBeListed(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.Keep("notebook", uitest.Kept()...)
	d.WS.SnapshotErr = api.Errorf(api.CodeUnreachable, "libvirt on box does not answer").WithHint("look at the box")
	d.To("notebook")
	d.Press("b")
	require.Contains(t, d.Screen(), "libvirt on box does not answer")
	require.Contains(t, d.Screen(), "look at the box")
	d.Press("enter", "x", "y")
	require.Equal(t, []string{"snapshots notebook"}, d.WS.Log())
	d.WS.SnapshotErr = nil
	d.Press("ctrl+r")
	require.Contains(t, d.Screen(), "4 snapshots")
	require.NotContains(t, d.Screen(), "does not answer")

	// What came before the line was cut may be old.
	d.Connect("connection refused")
	asked := logged(d, "snapshots notebook")
	d.Connect("")
	require.Equal(t, asked+1, logged(d, "snapshots notebook"))
}

func TestAProviderThatHangsHoldsNothingUp(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.Keep("notebook", uitest.Kept()...)
	d.To("notebook")
	d.Hang(true)
	d.Press("b")
	d.Pass(3 * time.Second)
	require.Contains(t, d.Screen(), "Asking for the snapshots of notebook… 3s")
	d.Press("ctrl+r")
	require.Contains(t, d.Screen(), "Asking for the snapshots of notebook…\n", "the question before was given up")
	d.Press("esc", "d")
	require.Contains(t, d.Screen(), "Delete notebook?", "neither the list nor the dialog waits")
	require.Contains(t, d.Screen(), "Its snapshots go with it.")
	d.Hang(false)
	require.Contains(t, d.Screen(), "Its 4 snapshots go with it.")
	d.Press("esc", "b")
	require.Contains(t, d.Screen(), "4 snapshots")
	d.Hang(true)
	d.Press("ctrl+r")
	require.Contains(t, d.Screen(), "4 snapshots, looking again…")
	require.Contains(t, d.Row(), "snap-20260314-1015", "what is known stays")
	d.Press("g", "y")
	require.Equal(t, []string{"fresh"}, d.Copied)
	d.Press("ctrl+r", "ctrl+r")
	d.Hang(false)
	require.NotContains(t, d.Screen(), "looking again")
	require.NotContains(t, d.Screen(), "may be old", "what was given up is no failure")
	require.Contains(t, d.Row(), "fresh", "the cursor stays")
}

func TestSnapshotsReadOnly(t *testing.T) {
	d := keeps(t, uitest.Kept()...)
	d.Press("L", "esc", "b")
	require.Contains(t, d.Screen(), "4 snapshots", "looking is allowed")
	for _, k := range []string{"a", "enter", "x", "s", "d", "r"} {
		d.Press(k)
		require.Contains(t, d.Screen(), "read-only: nothing is changed from here")
		d.Press("y")
	}
	for _, c := range d.WS.Log() {
		require.Equal(t, "snapshots notebook", c)
	}
}

func TestTheInstanceGoesWhileItsSnapshotsAreShown(t *testing.T) {
	d := keeps(t, uitest.Kept()...)
	d.Press("g", "enter")
	d.WS.Remove("i-0002")
	d.Settle()
	d.Press("y")
	require.Contains(t, d.Screen(), "notebook is gone")
	for _, k := range []string{"a", "enter", "x", "r", "d", "c", "ctrl+r"} {
		d.Press(k)
		require.Contains(t, d.Screen(), "notebook is gone")
	}
	require.Equal(t, []string{"snapshots notebook"}, d.WS.Log(), "nothing was done to another of that name")
	d.Press("esc")
	require.Contains(t, d.Screen(), "fleet")

	// The one that was meant goes while it is asked for.
	d = drive(t, uitest.Small(uitest.Epoch)...)
	d.Keep("notebook", uitest.Kept()...)
	d.To("notebook")
	d.Hang(true)
	d.Press("b")
	d.WS.Remove("i-0002")
	d.Hang(false)
	require.Contains(t, d.Screen(), "notebook is gone")
}

func TestDeletingAnInstanceTellsOfItsSnapshots(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	says := func(want string, list ...api.Snapshot) {
		t.Helper()
		d.Keep("notebook", list...)
		d.To("notebook")
		d.Press("d")
		require.Contains(t, d.Screen(), want)
		d.Press("esc")
	}
	says("Its 4 snapshots go with it.", uitest.Kept()...)
	says("Its snapshot fresh goes with it.", uitest.Kept()[0])
	says("It has no snapshots.")
	d.WS.SnapshotErr = api.Errorf(api.CodeUnreachable, "no answer")
	says("Its snapshots go with it.", uitest.Kept()...)
	d.To("train-1")
	d.Press("d")
	require.NotContains(t, d.Screen(), "snapshot", "it can have none")
	d.Press("esc")
	d.Press("*", "d")
	require.Contains(t, d.Screen(), "Their snapshots go with them.")
}

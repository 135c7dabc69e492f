package shim

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/process"
	"berth/backend/agent/shim/shimtest"
	"berth/backend/transport/wire"
)

// TestShimsOfTheReleaseBefore has terminals under the real shim of capability 1: this build finds them, attaches to
// them, ends them, and reads how they ended.
func TestShimsOfTheReleaseBefore(t *testing.T) {
	old := shimtest.Build(t, shimtest.Capability1)
	parent := t.TempDir()
	terminal := func(id, script string) Record {
		spec := newSpec(t, parent, id, script)
		require.NoError(t, Start(t.Context(), []string{old, id}, os.Environ(), spec, os.Stderr))
		r, err := ReadRecord(spec.Dir)
		require.NoError(t, err)
		require.Equal(t, 1, r.Protocol)
		require.Empty(t, r.Shim.Space, "it knew of no name space")
		return r
	}
	look := func(r Record) process.Found { return process.Look(filepath.Join(parent, r.ID), RecordName) }

	one := terminal("1", `echo up; while read x; do echo "got $x"; stty size; done`)
	first := attach(t, one)
	first.sees("up")
	require.NoError(t, first.c.Close())
	found, err := process.Find(parent, RecordName)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, process.Running, found[0].Fate)
	members, err := found[0].Record.Set().Members()
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(members, one.Child.Is))
	watch, err := Dial(t.Context(), one, Request{Op: "watch"})
	require.NoError(t, err)
	defer watch.Close()
	require.Equal(t, 1, watch.Info.Protocol)
	require.Equal(t, one.Child.PID, watch.Info.PID)
	p := attach(t, one)
	p.sees("up") // replayed
	p.types("it\n")
	p.sees("got it\r\n30 90")
	require.NoError(t, os.Remove(one.Socket))
	q := attach(t, one) // makes the shim listen again
	require.NoError(t, q.c.Writer.WriteJSON(wire.Resize, wire.Size{Rows: 11, Cols: 22}))
	q.types("more\n")
	q.sees("got more\r\n11 22")
	c, err := Dial(t.Context(), one, Request{Op: "kill", GraceSeconds: 0.1})
	require.NoError(t, err)
	defer c.Close()
	x, err := c.WaitExit()
	require.NoError(t, err)
	require.NotEmpty(t, x.Signal)
	_, err = watch.WaitExit()
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(parent, "1", "exit.json"))
	eventually(t, "its end", func() bool { return look(one).Fate == process.Ended })
	require.Equal(t, x, look(one).Exit.ExitStatus)
	require.NoError(t, look(one).Remove())

	two := terminal("2", `exit 5`)
	eventually(t, "its end", func() bool { return look(two).Fate == process.Ended })
	require.Equal(t, 5, look(two).Exit.Code)

	three := terminal("3", `trap '' HUP; echo up; while :; do sleep 0.01; done`)
	attach(t, three).sees("up") // it ignores the hang-up by now
	require.NoError(t, three.Shim.Signal(syscall.SIGKILL))
	eventually(t, "the orphan", func() bool { return look(three).Fate == process.Orphaned })
	require.NoError(t, three.Child.Signal(syscall.SIGKILL))
	eventually(t, "the loss", func() bool { return look(three).Fate == process.Lost })
}

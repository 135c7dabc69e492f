package local

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/agent"
	"berth/backend/agent/process"
	"berth/backend/agent/supervise"
	"berth/backend/api"
	"berth/backend/base/paths"
)

// marked lists the processes that carry the mark of an instance.
func marked(t *testing.T, id string) int {
	t.Helper()
	m, err := process.Set{Mark: supervise.MarkVariable + "=" + id}.Members()
	require.NoError(t, err)
	return len(m)
}

func TestDeleteEndsWhatRunsOfAFolderThatIsGone(t *testing.T) {
	for name, remove := range map[string]func(b *Backend, id string) []string{
		"the instance's folder":       func(b *Backend, id string) []string { return []string{b.folder(id)} },
		"its supervisor's folder too": func(b *Backend, id string) []string { return []string{b.folder(id), string(b.dir(id))} },
		"all folders":                 func(b *Backend, id string) []string { return []string{b.env.Home.Data, string(b.dir(id))} },
	} {
		for _, verb := range []string{"delete", "stop"} {
			t.Run(name+" "+verb, func(t *testing.T) {
				b := open(t, nil)
				ref := create(t, b, "gone")
				c, info := client(t, b, ref)
				pids := stubborn(t, c)
				parent := b.look(ref.ID).status.PID
				byCgroup := b.look(ref.ID).status.Cgroup != nil
				for _, dir := range remove(b, ref.ID) {
					require.NoError(t, os.RemoveAll(dir))
				}
				m, err := b.Get(t.Context(), ref)
				require.NoError(t, err, "what runs is not gone")
				require.Equal(t, api.StateUnusable, m.State)
				require.Contains(t, m.Reason, "was deleted, and ")
				require.ErrorIs(t, b.Start(t.Context(), ref), backend.ErrConflict)
				if verb == "stop" {
					require.NoError(t, b.Stop(t.Context(), ref))
				} else {
					require.NoError(t, b.Delete(t.Context(), ref))
				}
				waitGone(t, b, ref)
				if !byCgroup { // nobody finds what cleared its environment once its supervisor was replaced
					for _, pid := range living(pids) {
						t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
					}
				} else {
					require.Empty(t, living(pids))
				}
				require.Empty(t, living([]int{info.PID}))
				eventually(t, "its supervisor's end", func() bool { return len(living([]int{parent})) == 0 })
				require.Zero(t, marked(t, ref.ID))
				require.NoError(t, b.Delete(t.Context(), ref))
				require.NoDirExists(t, string(b.dir(ref.ID)))
			})
		}
	}
}

func TestWhatLivesOfAnInstanceThatIsGoneIsListed(t *testing.T) {
	b := open(t, nil)
	ref, other := create(t, b, "gone"), create(t, b, "other")
	client(t, b, ref)
	client(t, b, other)
	require.NoError(t, os.RemoveAll(b.folder(ref.ID)))
	list, err := b.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 2)
	for _, m := range list {
		if m.ID == ref.ID {
			require.Equal(t, api.StateUnusable, m.State)
			require.Equal(t, "gone", m.Name)
		}
	}
	left, err := b.Leftovers(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, left, "it is listed")

	require.NoError(t, os.RemoveAll(string(b.dir(ref.ID))))
	list, err = b.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	left, err = b.Leftovers(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Equal(t, ref.ID, left[0].ID)
	require.Contains(t, left[0].What, "agent run")
	// Another home has nothing to do with it.
	theirs := open(t, nil)
	none, err := theirs.Leftovers(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, none)
	require.NoError(t, b.RemoveLeftover(t.Context(), left[0].ID))
	waitGone(t, b, ref)
	require.Zero(t, marked(t, ref.ID))
	require.NoError(t, b.RemoveLeftover(t.Context(), left[0].ID), "what is gone is fine")
	waitState(t, b, other, api.StateRunning)
	client(t, b, other)
}

func TestTheAgentOfThisHostEndsWithItsLastName(t *testing.T) {
	b := open(t, nil)
	m, err := b.Adopt(t.Context(), backend.AdoptSpec{Token: "op", Name: "host", Local: true})
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(b.folder(m.ID)))
	require.True(t, agent.Lives(b.env.Home.State+"/agent"))
	require.NoError(t, b.Delete(t.Context(), backend.Ref{ID: m.ID, Name: "host", Data: m.Data}))
	require.False(t, agent.Lives(b.env.Home.State+"/agent"))
	require.False(t, paths.Exists(b.env.Home.State+"/agent"))
}

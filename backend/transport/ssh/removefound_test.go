package ssh

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/transport/ssh/sshdtest"
)

// ada is the home that uses the agents of these tests.
var ada = api.Home{ID: "0123456789abcdef", Name: "ada@laptop"}

// used puts the agent at the end of c in place, uses it as a home, and says where it is.
func used(t *testing.T, ctx context.Context, c *Conn, home api.Home) api.AgentInfo {
	t.Helper()
	client := &api.AgentClient{Dial: c.Agent, Home: home}
	defer client.Close() // the agent is ended by who removes it: a later dial would put it there again
	info, err := client.Info(ctx)
	require.NoError(t, err)
	eventually(t, "it is noted who uses it", func() bool {
		_, err := os.Stat(filepath.Join(info.StateDir, "homes.json"))
		return err == nil
	})
	return info
}

// elsewhere is the same host from where nothing is remembered of what was put there.
func (w *world) elsewhere(set ...func(*Options)) *Conn {
	w.t.Helper()
	other := newWorld(w.t, append([]func(*Options){itself}, set...)...)
	other.config = w.config
	return other.conn(other.ctx(nil), "box")
}

// An agent of which nothing is remembered is found wherever the look around may have put it.
func TestRemoveFindsAnAgentOutsideTheHome(t *testing.T) {
	places := []string{"/var/tmp", "/tmp", "/dev/shm"}
	for i, place := range places {
		t.Run(place, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.Chmod(dir, 0o755))
			mount(t, dir, "mode=755,ro")
			_, w, ctx, c := box(t, sshdtest.Options{Home: dir}, itself)
			for _, before := range places[:i] { // it can't be put there
				base := before + `/berth-"$u"`
				_, err := c.script(ctx, homeScript+"mkdir -p -m 700 "+base+" && : >"+base+`/"$k"`)
				require.NoError(t, err)
				t.Cleanup(func() {
					_, err := c.script(w.ctx(nil), homeScript+"rm "+base+`/"$k" && { rmdir `+base+" 2>/dev/null || :; }")
					require.NoError(t, err)
				})
			}
			info := used(t, ctx, c, ada)
			require.Regexp(t, "^"+place+`/berth-\d+/home-\d+/agent$`, info.StateDir)

			shared, err := w.elsewhere().removeFor(ctx, "fedcba9876543210")
			require.NoError(t, err)
			require.Nil(t, shared)
			require.NoError(t, syscall.Kill(info.PID, 0), "it is another's")
			require.FileExists(t, filepath.Join(info.StateDir, "agent.json"))

			shared, err = w.elsewhere().removeFor(ctx, ada.ID)
			require.NoError(t, err)
			require.Nil(t, shared)
			eventually(t, "the agent ends", func() bool { return syscall.Kill(info.PID, 0) != nil })
			require.NoDirExists(t, filepath.Dir(info.StateDir))
		})
	}
}

// Two agents of one home are found: that in the home, which runs, and what an earlier one left outside, whose record
// names the socket that the first listens on. Somebody else uses that one: it goes on.
func TestRemoveFindsEachAgentByItself(t *testing.T) {
	t.Parallel()
	s, w, ctx, c := box(t, sshdtest.Options{}, itself)
	info := used(t, ctx, c, ada)
	bob := agentClient(t, c)
	bob.Home = api.Home{ID: "bob", Name: "bob@desk"}
	_, err := bob.Info(ctx)
	require.NoError(t, err)
	homes := filepath.Join(info.StateDir, "homes.json")
	eventually(t, "both are noted", func() bool {
		b, err := os.ReadFile(homes)
		return err == nil && strings.Contains(string(b), ada.ID) && strings.Contains(string(b), "bob@desk")
	})
	outside, err := c.script(ctx, homeScript+
		`d=/dev/shm/berth-"$u/$k"/agent; mkdir -p -m 700 /dev/shm/berth-"$u" "${d%/*}" "$d"; printf %s "$d"`)
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(outside)) })
	record, err := os.ReadFile(filepath.Join(info.StateDir, "agent.json"))
	require.NoError(t, err)
	onlyAda := []byte(`{"version": 1, "homes": [{"id": "` + ada.ID + `", "name": "ada@laptop", "seen_at": "2026-01-01T00:00:00Z"}]}`)
	// And one of another machine that shares the home.
	theirs := filepath.Join(s.Home, "state", "berth", "hosts", "0123456789ab", "agent")
	require.NoError(t, os.MkdirAll(theirs, 0o700))
	for _, d := range []string{outside, theirs} {
		require.NoError(t, os.WriteFile(filepath.Join(d, "agent.json"), record, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(d, "homes.json"), onlyAda, 0o600))
	}

	shared, err := w.elsewhere().removeFor(ctx, ada.ID)
	require.NoError(t, err)
	require.Len(t, shared.Others, 1)
	require.Equal(t, "bob", shared.Others[0].ID)
	require.Equal(t, info.StateDir, shared.Path)
	require.Contains(t, shared.Command, " agent uninstall --end --socket="+info.Socket+" --state="+info.StateDir)
	require.NoDirExists(t, filepath.Dir(outside))
	require.DirExists(t, theirs)
	after, err := bob.Info(ctx)
	require.NoError(t, err)
	require.Equal(t, info.PID, after.PID)
}

// An agent that is found, and that an older Berth has used, may be this home's from before: it stays, and that is said.
func TestRemoveFindsTheAgentOfAnOlderBerth(t *testing.T) {
	t.Parallel()
	_, w, ctx, c := box(t, sshdtest.Options{}, itself)
	client := agentClient(t, c)
	require.Equal(t, "x", run(t, ctx, client, "printf", "x").out)
	info, err := client.Info(ctx)
	require.NoError(t, err)
	eventually(t, "it is noted who uses it", func() bool {
		_, err := os.Stat(filepath.Join(info.StateDir, "homes.json"))
		return err == nil
	})
	shared, err := w.elsewhere().removeFor(ctx, ada.ID)
	require.NoError(t, err)
	require.NotNil(t, shared)
	require.Len(t, shared.Others, 1)
	require.Empty(t, shared.Others[0].ID)
	require.Equal(t, info.StateDir, shared.Path)
	require.NoError(t, syscall.Kill(info.PID, 0))
	_, err = c.script(ctx, shared.Command)
	require.NoError(t, err)
	eventually(t, "the agent ends", func() bool { return syscall.Kill(info.PID, 0) != nil })
	require.NoDirExists(t, info.StateDir)
}

// What was found and stays is a failure that names host, folder and a command, which removes it.
func TestRemoveSaysWhatIsLeftOfWhatItFound(t *testing.T) {
	t.Parallel()
	_, w, ctx, c := box(t, sshdtest.Options{}, itself)
	info := used(t, ctx, c, ada)
	homes := filepath.Join(info.StateDir, "homes.json")
	require.NoError(t, os.WriteFile(homes, []byte("{"), 0o600))
	noAgent := func(o *Options) {
		o.AgentBinary = func(context.Context, string, string) (string, error) { return "", os.ErrNotExist }
	}
	for what, c := range map[string]*Conn{"a record that can't be read": w.elsewhere(), "no program": w.elsewhere(noAgent)} {
		_, err := c.removeFor(ctx, ada.ID)
		var left *backend.Left
		require.ErrorAs(t, err, &left, what)
		require.Contains(t, left.Host, "127.0.0.1")
		require.Equal(t, info.StateDir, left.Path)
		require.Contains(t, left.Command, " agent uninstall --end --socket="+info.Socket+" --state="+info.StateDir)
		require.NoError(t, syscall.Kill(info.PID, 0))
		if what == "no program" {
			continue
		}
		require.ErrorContains(t, err, homes)
	}
	_, err := w.elsewhere(noAgent).removeFor(ctx, ada.ID)
	var left *backend.Left
	require.ErrorAs(t, err, &left)
	_, err = c.script(ctx, left.Command)
	require.NoError(t, err)
	eventually(t, "the agent ends", func() bool { return syscall.Kill(info.PID, 0) != nil })
	require.NoDirExists(t, info.StateDir)
}

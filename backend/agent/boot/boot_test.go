package boot

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/part"
	"berth/backend/agent/user"
)

func TestCrontabKeepsEverythingElse(t *testing.T) {
	others := "MAILTO=me\n# berth is nice\n@reboot /bin/own  thing\n5 4 * * * x"
	line, err := cronLine([]string{"/a b/berth-agent", "start", "--state=/s%d/a b", "it's"})
	require.NoError(t, err)
	require.Equal(t, `@reboot '/a b/berth-agent' start '--state=/s\%d/a b' "it's" >/dev/null 2>&1`, line)
	without := func(tab string) string { return withoutOurs(tab, "--state=/s%d/a b") }
	ours := cronMark + "\n" + line + "\n"
	require.Equal(t, others, without(others))
	require.Equal(t, others+"\n", without(others+"\n"+ours))
	require.Equal(t, "a\nb\n", without("a\n"+ours+"b\n"))
	require.Equal(t, "a\nb\n", without("a\n"+cronMark+"\nb\n"), "a line that somebody took away")
	require.Equal(t, "a\n", without("a\n"+cronMark))
	another := strings.Replace(ours, "/a b'", "/a'", 1)
	require.Equal(t, another+"b\n", without(another+ours+"b\n"), "the line of another agent of this user")
	line, err = cronLine([]string{"/a/berth-agent", "start", "--state=/old", "--socket=/tmp/s"})
	require.NoError(t, err)
	copied := cronMark + "\n" + line + "\n"
	require.Equal(t, "b\n"+another, withoutOurs(copied+"b\n"+another, "--state=/new", "--socket=/tmp/s"),
		"one that came with a copied disk")
	_, err = cronLine([]string{"two\nlines"})
	require.Error(t, err)
}

// TestAReturnThatIsNotArrangedYet: the seed of a machine starts the agent before Berth has arranged its return.
func TestAReturnThatIsNotArrangedYet(t *testing.T) {
	fields := user.Fields()
	if len(fields) < 6 {
		t.Skip("this user is in no passwd file")
	}
	dir := t.TempDir()
	for k, v := range map[string]string{"BERTH_HOME": "", "HOME": filepath.Clean(fields[5]), "XDG_STATE_HOME": dir,
		"XDG_CONFIG_HOME": dir, "XDG_RUNTIME_DIR": dir} {
		t.Setenv(k, v)
	}
	var o part.Options
	require.NoError(t, o.Defaults())
	require.Empty(t, OwnFolders(o), "it is the user's one")
	require.Equal(t, "not arranged yet; Berth starts the agent when it connects", AfterReboot(o))
	o.State = filepath.Join(dir, "other")
	require.Contains(t, AfterReboot(o), "nothing starts the agent after a reboot", "this one keeps out of the crontab")
}

func TestUnitQuotes(t *testing.T) {
	require.Contains(t, unitText([]string{"/a b/x", `--home=/p%d$HOME"q"\`}),
		`ExecStart="/a b/x" "--home=/p%%d$$HOME\"q\"\\"`+"\n")
}

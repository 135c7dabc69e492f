package action

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"mvdan.cc/sh/v3/syntax"

	"berth/backend/api"
	"berth/ui/data"
	"berth/ui/dialog"
	"berth/ui/screen"
	"berth/ui/theme"
)

// TestLinesToCopyAreQuoted takes the lines that are offered of an instance whose user, name and address hold what a
// shell gives a meaning: each is one command, whose words are what was meant.
func TestLinesToCopyAreQuoted(t *testing.T) {
	const odd = "o'neil; rm -rf $HOME *"
	all := api.Capabilities{Start: true, Stop: true, Restart: true, Delete: true, Exec: true, Console: true}
	st := data.NewStore()
	st.Apply(data.Delta{Complete: true, Changed: []*api.Instance{{ID: "i-1", Name: odd, State: api.StateRunning,
		Capabilities: all, User: odd, Address: "host name", Port: 2222, SSHEnabled: true}}})
	e := &screen.Env{Ctx: context.Background(), Store: st, CanShell: true, Theme: theme.New(theme.Options{})}
	row := st.Row("i-1")
	var lines []string
	CopyMenu(e, row)
	Commands(e, []*data.Row{row})
	for {
		m, ok := e.Next()
		if !ok {
			break
		}
		for _, it := range m.(screen.Show).Dialog.(*dialog.Menu).Items {
			c, ok := it.Do().(screen.Copy)
			if ok && (strings.HasPrefix(c.Text, "berth ") || strings.HasPrefix(c.Text, "ssh ")) {
				lines = append(lines, c.Text)
			}
		}
	}
	for _, v := range []string{Clone, Image, Console, Setup, LetGo, Snapshot} {
		lines = append(lines, Command(e, v, []*data.Row{row}))
	}
	require.Greater(t, len(lines), 10)
	seen := 0
	for _, l := range lines {
		f, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(l), "")
		require.NoError(t, err, l)
		require.Len(t, f.Stmts, 1, l)
		for _, w := range f.Stmts[0].Cmd.(*syntax.CallExpr).Args {
			for _, p := range w.Parts {
				_, lit := p.(*syntax.Lit)
				_, quoted := p.(*syntax.SglQuoted)
				require.True(t, lit || quoted, l)
				if quoted {
					seen++
				}
			}
		}
	}
	require.Greater(t, seen, 10, "they are quoted")
}

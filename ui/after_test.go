package ui_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/ui/uitest"
)

func TestTwoKeysToAShell(t *testing.T) {
	d := drive(t)
	require.Contains(t, d.Screen(), "n enter")
	d.Press("n", "enter")
	require.Equal(t, []string{"check work-1", "create work-1 local host"}, d.WS.Log())
	require.Contains(t, d.Screen(), "Its shell opens when it is ready")
	require.Empty(t, d.Shells)
	d.WS.Finish("op-1")
	d.Settle()
	require.Equal(t, []string{"work-1"}, d.Shells)
	require.Contains(t, d.Screen(), "work-1: detached; the shell goes on")
	d.Pass(time.Minute)
	require.Len(t, d.Shells, 1, "once")
}

func TestTheKeysMayComeBeforeTheBackends(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.Together("n", "enter")
	d.WS.Finish("op-1")
	d.Settle()
	require.Equal(t, []string{"work-1"}, d.Shells)
}

func TestAShellDoesNotOpenBySurprise(t *testing.T) {
	for what, do := range map[string]func(d *uitest.Driver){
		"a key":          func(d *uitest.Driver) { d.Press("j") },
		"leaving":        func(d *uitest.Driver) { d.Press("esc") },
		"a click":        func(d *uitest.Driver) { d.Click("work-1") },
		"a slow backend": func(d *uitest.Driver) { d.Pass(10 * time.Second) },
	} {
		d := drive(t)
		d.Press("n", "enter")
		do(d)
		require.Contains(t, d.Screen(), "t opens the shell of work-1 when it is ready", what)
		d.WS.Finish("op-1")
		d.Settle()
		require.Empty(t, d.Shells, what)
	}
	d := drive(t)
	d.Press("n", "enter")
	d.WS.FailOp("op-1", &api.Error{Code: api.CodeCapacity, Message: "no room"})
	d.Settle()
	require.Contains(t, d.Screen(), "no room")
	require.NotContains(t, d.Screen(), "Its shell opens")
	d.Pass(time.Minute)
	require.Empty(t, d.Shells)
}

func TestShellWhenReadyIsAChoiceThatIsRemembered(t *testing.T) {
	d := drive(t)
	d.Press("n", "up", "up", " ") // the last field
	require.Contains(t, d.Screen(), "○ not opened by itself; t opens it")
	d.Press("enter")
	d.WS.Finish("op-1")
	d.Settle()
	require.Empty(t, d.Shells)
	d.Press("esc", "n")
	require.Contains(t, d.Screen(), "○ not opened by itself")
	require.NotContains(t, d.Screen(), "&& berth ssh")
	d.Press("tab", "left")
	require.Contains(t, d.Screen(), "○ not opened by itself", "a cloud takes its time")
	d.Press("up", "up", "up", " ")
	require.Contains(t, d.Screen(), "--backend ec2")
	require.Contains(t, d.Screen(), "&& berth ssh work-2")
	d.Press("ctrl+y")
	require.Equal(t, []string{"berth create work-2 --backend ec2 --size g5.xlarge --image ubuntu-24.04 && berth ssh work-2"}, d.Copied)
	d.Press("enter")
	d.WS.Finish("op-2")
	d.Settle()
	require.Equal(t, []string{"work-2"}, d.Shells)
}

func TestSuggestedNames(t *testing.T) {
	in := uitest.Small(uitest.Epoch)[0]
	in.Name = "Work-1"
	d := drive(t, in)
	d.WS.Taken = map[string]bool{"work-2": true} // by the provider: only the service knows
	d.Press("n")
	require.Contains(t, d.Screen(), "work-3")
	require.Contains(t, d.Screen(), "this name is free; type to choose another")
	in.ID, in.Name = "other", "work-3" // somebody else takes it meanwhile
	d.WS.Put(in)
	d.Settle()
	require.Contains(t, d.Screen(), "$ berth create work-4 ")
	d.Type("gpu")
	require.Contains(t, d.Screen(), "$ berth create gpu ", "typing replaces it")
	d.Press("esc", "n", "right")
	d.Type("b")
	require.Contains(t, d.Screen(), "$ berth create work-4b ", "moving the caret keeps it")
	d.Press("esc", "n", "backspace")
	require.Contains(t, d.Screen(), "$ berth create NAME ")
	d.Press("enter")
	require.Contains(t, d.Screen(), "it needs a name")
	require.Empty(t, d.Shells)
}

func TestEnterInATextFieldSubmitsOrGoesToWhatIsMissing(t *testing.T) {
	d := drive(t)
	d.Press("n")
	d.Type("gpu-7")
	d.Press("shift+tab", "shift+tab", "shift+tab") // the set-up script
	d.Type("/no/such/file")
	d.Press("enter")
	require.Contains(t, d.Screen(), "no such file")
	d.Press("ctrl+u", "up", "up", "up", "up", "up", "up", "up", "ctrl+u", "down", "down", "down", "down", "down",
		"down", "down", "enter")
	require.Contains(t, d.Screen(), "it needs a name")
	d.Type("gpu-7")
	d.Press("enter")
	require.Contains(t, d.WS.Log(), "create gpu-7 local host")
}

func TestANameThatCannotBeCheckedStopsNothing(t *testing.T) {
	d := drive(t)
	d.WS.CheckErr = errors.New("no answer")
	d.Press("n")
	require.Contains(t, d.Screen(), "no answer")
	d.Press("enter")
	require.Contains(t, d.WS.Log(), "create work-1 local host")
}

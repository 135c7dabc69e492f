package ui_test

import (
	"errors"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/ui/attach"
	"berth/ui/uitest"
)

func TestStopAsksAndTheDefaultIsNo(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.To("notebook")
	for _, no := range []string{"enter", "esc", "n", "q"} {
		d.Press("s")
		require.Contains(t, d.Screen(), "Stop notebook?")
		require.Contains(t, d.Screen(), "$ berth stop notebook")
		d.Press(no)
		require.NotContains(t, d.Screen(), "Stop notebook?")
	}
	require.Empty(t, d.WS.Log())
	d.Press("s", "y")
	require.Equal(t, []string{"stop notebook"}, d.WS.Log())
	require.Contains(t, d.Row(), "stopping 0s")
	d.Press("s")
	require.Contains(t, d.WS.Log(), "start notebook", "s starts what is on its way down")
	require.Contains(t, d.Screen(), "stop of notebook is under way since 10:30:00", "the service wants it stopped first")
	d.Press("esc")
	d.WS.Finish("op-1")
	d.Settle()
	d.Press("s")
	require.Contains(t, d.Row(), "starting 0s")
}

func TestStopByButtonAndMouse(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.To("notebook")
	d.Press("s", "tab", "enter")
	require.Equal(t, []string{"stop notebook"}, d.WS.Log())
	d.To("train-1")
	d.Press("s")
	require.True(t, d.Click("( Stop )"))
	require.Equal(t, []string{"stop notebook", "stop train-1"}, d.WS.Log())
}

func TestDeleteWantsTheNameTyped(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.To("train-1")
	d.Press("d")
	require.Contains(t, d.Screen(), "The disk (120 GiB) and all files on it")
	d.Type("y")
	d.Press("enter")
	require.Contains(t, d.Screen(), "That is not what must be typed")
	require.Empty(t, d.WS.Log())
	d.Press("ctrl+u")
	d.Type("train-2")
	d.Press("tab", "enter")
	require.Empty(t, d.WS.Log())
	d.Press("ctrl+u")
	d.Type("train-1")
	d.Press("enter")
	require.Equal(t, []string{"delete train-1"}, d.WS.Log())
	d.WS.Finish("op-1")
	d.Settle()
	require.Nil(t, d.E.Store.ByName("train-1"))
}

func TestForgettingAnAdoptedMachineSaysThatItStays(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.To("gpu-lab")
	d.Press("d")
	require.Contains(t, d.Screen(), "Forget gpu-lab?")
	require.Contains(t, d.Screen(), "nothing else on it is")
	d.Settle()
	require.Contains(t, d.Screen(), "1 terminal ends: 3 (bash, attached).")
	require.Contains(t, d.Screen(), "ada@tower (last seen")
	require.Equal(t, []string{"departure gpu-lab"}, d.WS.Log())
	d.Press("y")
	require.Equal(t, []string{"departure gpu-lab", "delete gpu-lab"}, d.WS.Log())
}

func TestMarkedInstances(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.To("notebook")
	d.Press("*", "s")
	require.Contains(t, d.Screen(), "of the marked are left out")
	d.Press("esc", "d")
	require.Contains(t, d.Screen(), "Type 8 to go on")
	d.Type("8")
	d.Press("enter")
	require.Len(t, d.WS.Log(), 8)
	d.Press("esc")
	require.NotContains(t, d.Screen(), "marked")
}

func TestWhatCantBeDoneSaysWhy(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.To("gpu-lab")
	require.Contains(t, d.Screen(), "(s stop)")
	d.Press("s")
	require.Contains(t, d.Screen(), "Berth did not start it and can't stop it")
	d.To("archive")
	d.Press("t")
	require.Contains(t, d.Screen(), "archive is stopped: start it with s")
	d.Press("?")
	require.Contains(t, d.Screen(), "✗ archive is stopped")
	require.Empty(t, d.Shells)
	require.Empty(t, d.WS.Log())
}

func TestReadOnly(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.To("notebook")
	d.Press("L")
	require.Contains(t, d.Lines()[0], "READ-ONLY")
	d.Press("s", "d", "r", "n", "a")
	d.Press(":")
	d.Type("stop notebook")
	d.Press("enter", "esc")
	require.Empty(t, d.WS.Log())
	require.NotContains(t, d.Lines()[0], "create")
	d.Press("t")
	require.Equal(t, []string{"notebook"}, d.Shells, "looking is allowed")
	d.Press("L", "s", "y")
	require.Equal(t, []string{"stop notebook"}, d.WS.Log())

	o := uitest.Options{Width: 100, Height: 30, Look: uitest.Plain}
	o.Config.ReadOnly = true
	d = uitest.Drive(o, uitest.Small(uitest.Epoch)...)
	d.Press("L")
	require.Contains(t, d.Lines()[0], "READ-ONLY", "what the configuration says can't be undone")
	d.Press(":")
	d.Type("readonly")
	d.Press("enter", "esc")
	require.Contains(t, d.Lines()[0], "READ-ONLY")
}

func TestRefusedCanBeInsistedOn(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.WS.Fail = func(string, string) error {
		return api.Errorf(api.CodeRefused, "its disk is full").WithHint("--force")
	}
	d.To("notebook")
	d.Press("s", "y")
	require.Contains(t, d.Screen(), "Could not stop notebook")
	require.Contains(t, d.Screen(), "its disk is full")
	d.Press("tab", "enter")
	require.Equal(t, []string{"stop notebook", "stop notebook --force"}, d.WS.Log())
}

func TestManyFailuresShareOneNotice(t *testing.T) {
	d := drive(t, uitest.Many(uitest.Epoch, 30)...)
	d.WS.Fail = func(_, name string) error { return api.Errorf(api.CodeUnreachable, "no answer for %s", name) }
	d.Press("*", "d")
	d.Type("30")
	d.Press("enter")
	require.Contains(t, d.Screen(), "Could not delete 30 instances")
	require.Contains(t, d.Screen(), "and 25 more")
	d.Press("esc")
	require.NotContains(t, d.Screen(), "Could not")
}

func TestAQuestionInTheMiddleOfTypingIsNotAnsweredByIt(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.Press("n")
	d.Type("gpu")
	d.Ask(api.Question{ID: "1", Kind: "confirm", Title: "Unknown host key"})
	d.Type("y")
	require.Empty(t, d.Asked)
	require.Contains(t, d.Screen(), "Unknown host key")
	d.Pass(time.Second)
	d.Type("y")
	require.Equal(t, []api.Answer{{Value: "yes"}}, d.Asked)
}

func TestComingBackTheCursorIsOnWhatWasMade(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.Press("n")
	d.Type("gpu-7")
	d.Press("ctrl+s", "esc")
	require.Contains(t, d.Row(), "gpu-7")
}

func TestActionsGoToMarkedRowsThatAreShown(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.To("notebook")
	d.Press(" ", "/")
	d.Type("train")
	d.Press("enter")
	require.Contains(t, d.Screen(), "1 marked, 1 of them hidden")
	d.Press("s", "d", "r", "y")
	require.Empty(t, d.WS.Log())
	require.NotContains(t, d.Screen(), "?─")
}

func TestCreate(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.Press("n")
	d.Type("2x")
	require.Contains(t, d.Screen(), "a name begins with a letter")
	d.Press("ctrl+u")
	d.Type("notebook")
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), `there is an instance "notebook" already`)
	require.Equal(t, []string{"check work-1", "check notebook"}, d.WS.Log(), "asked once, when typing rests")
	d.Press("ctrl+u")
	d.Type("gpu-7")
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), "this name is free")
	d.Press("tab", "left", "tab")
	require.Contains(t, d.Screen(), "4 vCPU, 16 GiB, 1x A10G, $1.01/h")
	d.Press("enter")
	d.Type("p4d")
	d.Press("enter")
	require.Contains(t, d.Screen(), "$ berth create gpu-7 --backend ec2 --size p4d.24xlarge --image ubuntu-24.04")
	d.Press("ctrl+s")
	require.Contains(t, d.WS.Log(), "create gpu-7 ec2 p4d.24xlarge")
	require.Contains(t, d.Lines()[0], "fleet › gpu-7")
	require.Contains(t, d.Screen(), "◐ preparing the image")
	d.Pass(3 * time.Second)
	require.Contains(t, d.Screen(), "creating for 3s")
	d.WS.Advance("op-1")
	d.Settle()
	require.Contains(t, d.Screen(), "✓ preparing the image  3.0s")
	d.WS.Finish("op-1")
	d.Settle()
	require.Contains(t, d.Screen(), "● running")
	d.Press("esc")
	require.Contains(t, d.Screen(), "gpu-7")
}

func TestCreateThatFailsKeepsTheForm(t *testing.T) {
	d := drive(t)
	d.WS.Fail = func(string, string) error {
		return api.Errorf(api.CodeQuota, "12 of 12 cores are in use").WithHint("delete something, or ask for more")
	}
	d.Press("n")
	d.Type("gpu-7")
	d.Press("ctrl+s")
	require.Contains(t, d.Screen(), "12 of 12 cores are in use")
	require.Contains(t, d.Screen(), "delete something, or ask for more")
	require.Contains(t, d.Screen(), "gpu-7")
	d.Press("esc")
	require.Contains(t, d.Screen(), "Welcome to Berth")
}

func TestFailedOperationShowsWhatToDo(t *testing.T) {
	d := drive(t)
	d.Press("n")
	d.Type("gpu-7")
	d.Press("ctrl+s")
	d.WS.FailOp("op-1", &api.Error{Code: api.CodeCapacity, Message: "no capacity in zone a", Hint: "try --region"})
	d.Settle()
	require.Contains(t, d.Screen(), "create failed")
	require.Contains(t, d.Screen(), "no capacity in zone a")
	require.Contains(t, d.Screen(), "try --region")
}

func TestAdopt(t *testing.T) {
	d := drive(t)
	d.Press("a")
	d.Type("ada@gpu-lab.example.org:2222")
	require.Contains(t, d.Screen(), "$ berth adopt gpu-lab ada@gpu-lab.example.org:2222")
	d.Press("ctrl+s")
	require.Equal(t, []string{"adopt gpu-lab ada@gpu-lab.example.org:2222 false"}, d.WS.Log())

	d = uitest.Drive(uitest.Options{Width: 100, Height: 30, Look: uitest.Plain, LocalGPUs: true})
	require.Contains(t, d.Screen(), "this computer itself")
	d.Press("a", "enter")
	require.Equal(t, []string{"adopt this-computer  true"}, d.WS.Log())
	d.WS.Finish("op-1")
	d.Settle()
	require.Equal(t, []string{"this-computer"}, d.Shells)
}

func TestShell(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.To("notebook")
	d.Press("t")
	require.Equal(t, []string{"notebook"}, d.Shells)
	require.Contains(t, d.Screen(), "notebook: detached; the shell goes on")
	require.Contains(t, d.Row(), "notebook", "the same screen again")
	d.OpenShell = func(string) error { return errors.New("no route to host") }
	d.Press("t")
	require.Contains(t, d.Screen(), "Could not open a shell on notebook")
	require.Contains(t, d.Screen(), "no route to host")
}

// TestATerminalThatEnded is said, and one key goes on from there.
func TestATerminalThatEnded(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.To("notebook")
	d.ShellEnds = attach.NewEnded("notebook", api.StateStopped,
		api.Errorf(api.CodeFailed, "the terminal ended: notebook was stopped by ada").WithHint("berth start notebook"))
	d.Press("t")
	for _, want := range []string{"A terminal on notebook ended", "notebook was stopped by ada", "berth start notebook",
		"s start it", "esc close"} {
		require.Contains(t, d.Screen(), want)
	}
	_, err := d.WS.Action(t.Context(), "notebook", "stop", api.ActionRequest{})
	require.NoError(t, err)
	d.WS.Finish("op-1")
	d.Settle()
	d.Press("s") // typed to the terminal, which has just ended
	require.NotContains(t, d.WS.Log(), "start notebook")
	d.Pass(time.Second)
	d.Press("s")
	require.Contains(t, d.WS.Log(), "start notebook")
	require.NotContains(t, d.Screen(), "A terminal on")

	d.ShellEnds = attach.NewEnded("train-1", api.StateRunning, api.Errorf(api.CodeFailed, "the terminal ended: it was restarted"))
	d.To("train-1")
	d.Press("t")
	require.Contains(t, d.Screen(), "t new terminal")
	d.ShellEnds = nil
	d.Pass(time.Second)
	d.Press("t")
	require.Equal(t, []string{"notebook", "train-1", "train-1"}, d.Shells)
}

func TestCopying(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.To("notebook")
	d.Press("y")
	d.Type("address")
	d.Press("enter")
	require.Equal(t, []string{"10.0.4.12"}, d.Copied)
	d.Press("c", "down", "down", "enter")
	require.Equal(t, "berth stop notebook", d.Copied[1])
	d.Press("enter", "g", "j", "j", "y")
	require.Len(t, d.Copied, 3)
	require.Contains(t, d.Screen(), "copied")
}

func TestCommandsAreFoundByOtherWords(t *testing.T) {
	for _, c := range []struct{ typed, line, title string }{
		{"htop notebook", "top notebook", "notebook › top"},
		{"gpu note", "top notebook", "notebook › top"},
		{"NVTOP", "top", "notebook › top"}, // of what is under the cursor
		{"nvit", "nvitop: figures", "notebook › top"},
		{"hist", "history: figures", "notebook › top"},
		{"gpus", "wall", "wall"},
		{"alarms", "attention", "attention"},
		{"logs", "events", "events"},
		{"man keys", "", "help"},
	} {
		d := drive(t, uitest.Small(uitest.Epoch)...)
		d.To("notebook")
		d.Press(":")
		d.Type(c.typed)
		require.Contains(t, d.Screen(), c.line, c.typed)
		if c.typed == "nvit" || c.typed == "hist" { // a part of a word is completed first
			d.Press("tab")
			d.Type("notebook")
		}
		d.Press("enter")
		require.Contains(t, d.Lines()[0], c.title, c.typed)
		require.Empty(t, d.WS.Log())
	}
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.Press(":")
	d.Type("re")
	require.Regexp(t, `(?s)restart instances.*ask the provider.*resume: start instances`, d.Screen(),
		"names come before other words")
	d.Press("esc", ":")
	d.Type("x")
	require.NotContains(t, d.Screen(), "leave;", "one letter is no word")
	d.Press("esc", ":")
	d.Type("halt notebook")
	d.Press("enter")
	require.Empty(t, d.WS.Log(), "it asks, as stop does")
	d.Press("y")
	require.Equal(t, []string{"stop notebook"}, d.WS.Log())
}

func TestPalette(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.Press(":")
	d.Type("sho")
	d.Press("tab")
	d.Type("note")
	d.Press("tab", "enter")
	require.Contains(t, d.Lines()[0], "fleet › notebook")
	d.Press(":")
	d.Type("sort -price")
	d.Press("enter")
	require.Contains(t, d.Screen(), "↓$/HOUR")
	d.Press(":")
	d.Type("nonsense")
	d.Press("enter")
	require.Contains(t, d.Screen(), "there is no command nonsense")
	d.Press("esc", ":")
	d.Type("stop notebook")
	d.Press("enter", "y")
	require.Equal(t, []string{"stop notebook"}, d.WS.Log())
	d.Press(":")
	d.Type("quit")
	d.Press("enter")
	require.True(t, d.Quit)
}

func TestEventsFollow(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	for i := range 60 {
		d.WS.Emit(api.Event{Level: "info", Instance: "notebook", InstanceID: "i-0002",
			Message: "old " + string(rune('a'+i%26))})
	}
	d.Settle()
	d.Press("e")
	d.WS.Emit(api.Event{Level: "warn", Instance: "notebook", InstanceID: "i-0002", Message: "the newest"})
	d.Settle()
	require.Contains(t, d.Row(), "the newest")
	d.Press("k")
	row := d.Row()
	d.WS.Emit(api.Event{Level: "info", Instance: "train-1", Message: "newer still"})
	d.Settle()
	require.Equal(t, row, d.Row(), "scrolled up it stays")
	d.Press("G")
	require.Contains(t, d.Row(), "newer still")
	d.Press(".")
	require.NotContains(t, d.Screen(), "newer still")
	d.Press("/")
	d.Type("newest")
	d.Press("enter", "enter")
	require.Contains(t, d.Lines()[0], "› notebook")
}

func TestTimersRunOnlyWhereATimeIsShown(t *testing.T) {
	list := uitest.Small(uitest.Epoch)
	for i := range list { // nothing changes and nothing has an age below an hour
		list[i].State, list[i].IdleSince = api.StateRunning, nil
		at := uitest.Epoch.Add(-3*time.Hour - time.Duration(i)*time.Minute)
		list[i].ObservedAt = &at
	}
	d := drive(t, list...)
	frame := d.M.View()
	require.Equal(t, 1, d.Timers(), "one, for when an age changes")
	d.Pass(30 * time.Second)
	require.Equal(t, frame, d.M.View())
	d.Pass(2 * time.Hour)
	require.NotEqual(t, frame, d.M.View())
	require.LessOrEqual(t, d.Timers(), 2)

	in := list[0]
	in.State, in.StateSince = api.StateStarting, d.Now()
	d.WS.Put(in)
	d.Settle()
	for i := range 5 {
		require.Contains(t, d.Screen(), "starting "+string(rune('0'+i))+"s")
		d.Pass(time.Second)
	}
}

func TestReconnecting(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.Connect("connection refused")
	require.Contains(t, d.Screen(), "reconnecting")
	require.Contains(t, d.Screen(), "notebook", "what was seen last stays")
	d.Connect("")
	require.NotContains(t, d.Screen(), "reconnecting")
}

func TestQuestions(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.Pass(time.Hour)
	d.Ask(api.Question{ID: "1", Kind: "confirm", Title: "Unknown host key", Text: "SHA256:abc"})
	require.Contains(t, d.Screen(), "SHA256:abc")
	d.Press("enter") // the default is no
	d.Pass(time.Second)
	d.Ask(api.Question{ID: "2", Kind: "confirm", Title: "t"})
	d.Press("y")
	d.Pass(time.Second)
	d.Ask(api.Question{ID: "3", Kind: "secret", Title: "Passphrase"})
	d.Type("hunter 2")
	require.NotContains(t, d.Screen(), "hunter")
	d.Press("enter")
	d.Ask(api.Question{ID: "4", Kind: "text", Title: "Code"})
	d.Press("esc")
	require.Equal(t, []api.Answer{{Value: "no"}, {Value: "yes"}, {Value: "hunter 2"}, {Refused: true}}, d.Asked)
}

func TestKeysThatAreTypedAhead(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.To("train-1")
	d.Press("sy")
	require.Equal(t, []string{"stop train-1"}, d.WS.Log())
	d.Press("dtrain-1") // t, r, a and n are typed into the dialog, and are no commands
	require.Contains(t, d.Screen(), "Delete train-1?")
	require.Empty(t, d.Shells)
	d.Press("enter")
	require.Equal(t, []string{"stop train-1", "delete train-1"}, d.WS.Log())
}

func TestPastedTextIsNotKeys(t *testing.T) {
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.Send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("dq"), Paste: true})
	require.False(t, d.Quit)
	require.Contains(t, d.Screen(), "pasted text is not taken as keys")
	d.Press("/")
	d.Send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("train"), Paste: true})
	require.Contains(t, d.Screen(), "2 of 8")
}

func TestLeaving(t *testing.T) {
	for _, k := range []string{"q", "ctrl+c"} {
		d := drive(t, uitest.Small(uitest.Epoch)...)
		d.Press(k)
		require.True(t, d.Quit, k)
	}
	d := drive(t, uitest.Small(uitest.Epoch)...)
	d.Press("n", "q", "esc", "enter", "q")
	require.False(t, d.Quit, "q types in a form and goes back elsewhere")
	d.Press("s", "ctrl+c")
	require.True(t, d.Quit, "ctrl-c leaves from anywhere")
	require.Contains(t, func() []string { d.Press("ctrl+z"); return d.Other }(), "tea.SuspendMsg")
}

func TestGoingOnWithASetUpAndKeepingTheDisk(t *testing.T) {
	list := uitest.Small(uitest.Epoch)
	for i := range list {
		if list[i].Name == "train-1" {
			list[i].State, list[i].StateReason = api.StateSetupFailed, "the step CUDA failed"
			list[i].Capabilities.Snapshots = true
		}
	}
	d := drive(t, list...)
	d.To("train-1")
	d.Press("enter")
	require.Contains(t, d.Screen(), "u set up")
	d.Press("b", "a")
	d.Type("before")
	d.Press("enter")
	require.Contains(t, d.WS.Log(), "snapshot train-1 before")
	d.WS.Finish("op-1")
	d.Settle()
	d.Press("esc", "esc")
	d.To("train-1")
	d.Press("enter", "u")
	require.Contains(t, d.WS.Log(), "setup train-1 resume=true")
	d.Press("esc")
	d.To("notebook")
	d.Press("enter", "u")
	require.Contains(t, d.Screen(), "no set-up of notebook has failed")
	require.NotContains(t, d.WS.Log(), "setup notebook resume=true")
}

func TestAFailedSetUpIsLetGoOf(t *testing.T) {
	list := uitest.Small(uitest.Epoch)
	for i := range list {
		if list[i].Name == "train-1" {
			list[i].State = api.StateSetupFailed
		}
	}
	d := drive(t, list...)
	d.To("train-1")
	d.Press("enter", "U")
	require.Contains(t, d.Screen(), "stays undone")
	require.Empty(t, d.WS.Log())
	d.Press("y")
	require.Contains(t, d.WS.Log(), "setup train-1 forget")
	require.Contains(t, d.Screen(), "berth setup train-1 --forget")
}

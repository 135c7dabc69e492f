package action

import (
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/data"
	"berth/ui/screen"
)

// parallel bounds the calls for one action on many instances.
const parallel = 8

// each makes a command for each instance, of which a few run at a time.
func each(e *screen.Env, rows []*data.Row, call func(ref string) screen.Done) []tea.Cmd {
	slots := make(chan struct{}, parallel)
	cmds := make([]tea.Cmd, 0, len(rows))
	for _, r := range rows {
		ref := e.Store.Ref(r)
		cmds = append(cmds, func() tea.Msg {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
			case <-e.Ctx.Done():
				return nil
			}
			return call(ref)
		})
	}
	return cmds
}

// Forcible reports whether a verb that was refused may be insisted on.
func Forcible(verb string) bool {
	return verb == Start || verb == Stop || verb == Restart || verb == Delete
}

// Run asks the service for a verb on each instance. Each answer is a screen.Done.
func Run(e *screen.Env, verb string, rows []*data.Row, req api.ActionRequest) tea.Cmd {
	cmds := each(e, rows, func(ref string) screen.Done {
		var op api.Operation
		var err error
		switch verb {
		case Setup:
			op, err = e.WS.StartSetup(e.Ctx, ref, api.SetupRequest{Resume: true})
		case LetGo:
			op, err = e.WS.StartSetup(e.Ctx, ref, api.SetupRequest{Forget: true})
		case Snapshot:
			op, err = e.WS.Snapshot(e.Ctx, ref, api.SnapshotRequest{Name: time.Now().Format("s20060102-150405")})
		default:
			op, err = e.WS.Action(e.Ctx, ref, action(verb), req)
		}
		return screen.Done{Verb: verb, Ref: ref, Op: op, Err: err}
	})
	// First what is done, then what came of it.
	return tea.Sequence(screen.Info(doing(verb, rows)+" "+names(rows)+"   $ "+Command(e, verb, rows)), tea.Batch(cmds...))
}

// Refresh asks the providers for the state of instances now.
func Refresh(e *screen.Env, rows []*data.Row) tea.Cmd {
	asked := each(e, rows, func(ref string) screen.Done {
		_, err := e.WS.Refresh(e.Ctx, ref)
		return screen.Done{Verb: "refresh", Ref: ref, Err: err}
	})
	return tea.Sequence(screen.Info("asking how "+names(rows)+be(rows)+"; what has changed is shown as it comes"),
		tea.Batch(asked...))
}

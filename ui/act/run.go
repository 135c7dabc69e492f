package act

import (
	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/data"
	"berth/ui/screen"
)

// parallel bounds the calls for one action on many instances.
const parallel = 8

// Run asks the service for a verb on each instance. Each answer is a screen.Done.
func Run(e *screen.Env, verb string, rows []*data.Row, req api.ActionRequest) tea.Cmd {
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
			op, err := e.WS.Action(e.Ctx, ref, action(verb), req)
			return screen.Done{Verb: verb, Ref: ref, Op: op, Err: err}
		})
	}
	// First what is done, then what came of it.
	return tea.Sequence(screen.Info(Doing(verb)+" "+names(rows)+"   $ "+Command(e, verb, rows)), tea.Batch(cmds...))
}

// Refresh asks the providers for the state of instances now.
func Refresh(e *screen.Env, rows []*data.Row) tea.Cmd {
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
			_, err := e.WS.Refresh(e.Ctx, ref)
			return screen.Done{Verb: "refresh", Ref: ref, Err: err}
		})
	}
	return tea.Batch(cmds...)
}

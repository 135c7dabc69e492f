package job

import (
	"context"
	"fmt"
	"strconv"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/ui/action"
	"berth/ui/jobword"
	"berth/ui/key"
	"berth/ui/screen"
)

// OrderKeys are the bindings that change which jobs go first: the place of the one under the cursor, and the priority
// of all that are chosen.
func OrderKeys(e *screen.Env, at *One, jobs []One) []key.Binding {
	why := "there is no job here"
	if at != nil {
		if why = action.Why(e, at.Row, action.Job); why == "" {
			why = at.fixed()
		}
	}
	move := func(k, to, desc string) key.Binding {
		return key.Binding{Keys: []string{k}, Group: "Jobs", Desc: desc, Why: why, Do: func() tea.Cmd {
			return tellEach(e, "move", []One{*at}, to, func(ctx context.Context, o *One) error {
				_, err := o.Jobs.Move(ctx, o.ID(), to)
				return err
			})
		}}
	}
	up := move("[", "up", "Before the job before it, of those of its priority that wait; ] behind the one behind it.")
	up.Show, up.Label = "[ ]", "move"
	first := move("{", "top", "Before all of its priority that wait; } behind them.")
	first.Show = "{ }"
	return []key.Binding{up, move("]", "down", ""), first, move("}", "end", ""),
		prioritise(e, jobs, "+", 1), prioritise(e, jobs, "-", -1)}
}

// fixed says why the place of a job can't be changed, or "".
func (o *One) fixed() string {
	switch s := o.Job.State; {
	case o.Job.ArrayID != nil:
		return fmt.Sprintf("%s is an element: its array is moved", o.ID())
	case s != api.JobQueued && s != api.JobHeld:
		return fmt.Sprintf("job %s is %s: only what waits is moved", o.ID(), jobword.State(s))
	}
	return ""
}

// prioritise is the binding that changes the priority of jobs.
func prioritise(e *screen.Env, jobs []One, k string, by int) key.Binding {
	b := key.Binding{Keys: []string{k}, Group: "Jobs", Why: "there is no job here"}
	if by > 0 {
		b.Show, b.Label, b.Desc = "+ -", "priority", "A priority that is higher by one, or lower: a higher one goes first."
	}
	var fit []One
	for _, o := range jobs {
		if b.Why = action.Why(e, o.Row, action.Job); b.Why == "" && o.Job.State.Done() {
			b.Why = fmt.Sprintf("job %s is %s: it has no place any more", o.ID(), jobword.State(o.Job.State))
		}
		if b.Why == "" {
			fit = append(fit, o)
		}
	}
	if len(fit) > 0 {
		b.Why = ""
	}
	b.Do = func() tea.Cmd {
		to := ""
		if len(fit) == 1 {
			to = strconv.Itoa(fit[0].Job.Priority + by)
		}
		return tellEach(e, "priority", fit, to, func(ctx context.Context, o *One) error {
			_, err := o.Jobs.SetPriority(ctx, o.ID(), o.Job.Priority+by)
			return err
		})
	}
	return b
}

// tellEach does something with one job after the other, and says what came of it; to is what one of them is told.
func tellEach(e *screen.Env, verb string, jobs []One, to string, do func(ctx context.Context, o *One) error) tea.Cmd {
	said := verb + ": " + names(jobs)
	if to != "" {
		if to[0] == '-' {
			to = "-- " + to
		}
		said += " to " + to + "   $ " + command(verb, jobs[0].Ref, jobs[0].ID()) + " " + to
	}
	return tea.Sequence(screen.Info(said), func() tea.Msg {
		for i := range jobs {
			if err := do(e.Ctx, &jobs[i]); err != nil && e.Ctx.Err() == nil {
				return screen.Toast{Level: "error", Text: fmt.Sprintf("job %s of %s: %v", jobs[i].ID(), jobs[i].Ref, err)}
			}
		}
		return nil
	})
}

// AgainKey is the binding that submits a job once more, with changes.
func AgainKey(e *screen.Env, at *One) key.Binding {
	why := "there is no job here"
	if at != nil {
		why = action.Why(e, at.Row, action.Job)
	}
	return key.Binding{Keys: []string{"E"}, Label: "again", Group: "Jobs", Desc: "Submit it once more, with changes.", Why: why,
		Do: func() tea.Cmd { return e.Send(screen.Open{Name: "again", Arg: at.Row.ID + " " + at.ID()}) }}
}

package job

import (
	"fmt"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/backend/base/shellquote"
	"berth/queue"
	"berth/ui/action"
	"berth/ui/data"
	"berth/ui/dialog"
	"berth/ui/key"
	"berth/ui/screen"
)

// One is a job of an instance, as verbs and commands need it.
type One struct {
	Row  *data.Row // nil: the instance is gone
	Ref  string
	Jobs screen.Jobs
	Job  *api.Job
}

// ID is the job's id; "" while it has none.
func (o *One) ID() string {
	if o.Job.ID == nil {
		return ""
	}
	return *o.Job.ID
}

// can says why a job can't be told a verb, or "".
func (o *One) can(verb string) string {
	s := o.Job.State
	array := o.Job.Elements != nil
	ok := false
	switch verb {
	case "hold":
		ok = s == api.JobQueued
	case "release":
		ok = s == api.JobHeld
	case "pause":
		ok = s == api.JobRunning || array && o.Job.Elements.Running > 0
	case "resume":
		ok = s == api.JobPaused || array && o.Job.Elements.Running > 0
	case "cancel":
		ok = !s.Done()
	case "retry":
		ok = s.Done() && s != api.JobSucceeded
	}
	if ok {
		return ""
	}
	return fmt.Sprintf("job %s %s", o.ID(), queue.WhyNot(queue.State(s), verb))
}

// fit are those of jobs that can be told a verb; why says why none can.
func fit(e *screen.Env, verb string, jobs []One) (out []One, why string) {
	why = "there is no job here"
	for _, o := range jobs {
		w := action.Why(e, o.Row, action.Job)
		if w == "" {
			w = o.can(verb)
		}
		if w == "" {
			out = append(out, o)
		}
		why = w
	}
	if len(out) > 0 {
		why = ""
	}
	return out, why
}

// Keys are the bindings that tell jobs something. at is the one under the cursor, nil where there is none: it decides
// between hold and release, pause and resume.
func Keys(e *screen.Env, at *One, jobs []One) []key.Binding {
	hold, pause := "hold", "pause"
	if at != nil && at.Job.State == api.JobHeld {
		hold = "release"
	}
	if at != nil && at.Job.State == api.JobPaused {
		pause = "resume"
	}
	bind := func(verb, label, desc string, keys ...string) key.Binding {
		do, why := fit(e, verb, jobs)
		return key.Binding{Keys: keys, Label: label, Group: "Jobs", Desc: desc, Why: why,
			Do: func() tea.Cmd { return ask(e, verb, do) }}
	}
	return []key.Binding{bind("cancel", "cancel", "End jobs; asks first.", "x", "delete"),
		bind(hold, hold, "Have what waits stay where it is, or release it.", "h"),
		bind(pause, pause, "Stop the processes of what runs, or have them go on.", "p"),
		bind("retry", "retry", "Run again what did not succeed.", "a")}
}

// Commands is the binding that lists command lines about a job.
func Commands(e *screen.Env, at *One) key.Binding {
	why := ""
	if at == nil {
		why = "there is no job here"
	}
	return key.Of("c", why, func() tea.Cmd {
		m := &dialog.Menu{Title: "The command line for job " + at.ID()}
		add := func(verb, detail string, more ...string) {
			line := command(verb, at.Ref, append([]string{at.ID()}, more...)...)
			m.Items = append(m.Items, dialog.Item{Label: line, Detail: detail,
				Do: screen.Send(screen.Copy{What: "the command line", Text: line})})
		}
		if at.Job.Elements == nil {
			add("logs", "", "--follow")
		}
		add("show", "")
		add("wait", "")
		for _, v := range []string{"cancel", "hold", "release", "pause", "resume", "retry"} {
			if at.can(v) == "" {
				add(v, "")
			}
		}
		return e.Send(screen.Show{Dialog: m})
	}).As("command")
}

func command(verb, ref string, ids ...string) string {
	return shellquote.Line(append([]string{"berth", "job", verb, ref}, ids...)...)
}

// ask tells jobs a verb; what ends something is confirmed first.
func ask(e *screen.Env, verb string, jobs []One) tea.Cmd {
	if verb != "cancel" {
		return tell(e, verb, jobs)
	}
	c := &dialog.Confirm{Title: "Cancel " + names(jobs) + "?", Verb: "Cancel it", Danger: true,
		Command: lines(verb, jobs), Do: tell(e, verb, jobs)}
	if len(jobs) > 1 {
		c.Verb = "Cancel them"
	}
	runs, waits := 0, 0
	for _, o := range jobs {
		switch t := o.Job.Elements; {
		case t != nil:
			runs, waits = runs+t.Running, waits+t.Waiting
		case o.Job.State == api.JobQueued || o.Job.State == api.JobHeld:
			waits++
		default:
			runs++
		}
	}
	if runs > 0 {
		c.Lost = append(c.Lost, fmt.Sprintf("%s asked to end, and killed after a grace.", count(runs, "that runs is", "that run are")))
	}
	if waits > 0 {
		c.Lost = append(c.Lost, fmt.Sprintf("%s never begun.", count(waits, "that waits is", "that wait are")))
	}
	c.Kept = []string{"Logs and results stay; a runs it again."}
	return e.Send(screen.Show{Dialog: c})
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func names(jobs []One) string {
	if len(jobs) == 1 {
		return "job " + jobs[0].ID() + " of " + jobs[0].Ref
	}
	return fmt.Sprintf("%d jobs", len(jobs))
}

// lines are the command lines that do the same: one for each instance.
func lines(verb string, jobs []One) string {
	var refs []string
	ids := map[string][]string{}
	for _, o := range jobs {
		if ids[o.Ref] == nil {
			refs = append(refs, o.Ref)
		}
		ids[o.Ref] = append(ids[o.Ref], o.ID())
	}
	out := ""
	for i, r := range refs {
		if i > 0 {
			out += " && "
		}
		out += command(verb, r, ids[r]...)
	}
	return out
}

// tell says a verb to one job after the other, and what came of it.
func tell(e *screen.Env, verb string, jobs []One) tea.Cmd {
	return tea.Sequence(screen.Info(verb+": "+names(jobs)+"   $ "+lines(verb, jobs)), func() tea.Msg {
		var first error
		failed := 0
		for _, o := range jobs {
			if _, err := o.Jobs.Do(e.Ctx, o.ID(), verb); err != nil && e.Ctx.Err() == nil {
				failed++
				if first == nil {
					first = fmt.Errorf("job %s of %s: %w", o.ID(), o.Ref, err)
				}
			}
		}
		switch {
		case failed == 0:
			return nil
		case len(jobs) == 1:
			return screen.Toast{Level: "error", Text: first.Error()}
		}
		return screen.Toast{Level: "error", Text: fmt.Sprintf("%d of %d could not be told to %s; %v", failed, len(jobs), verb, first)}
	})
}

// Older reports whether an error says that an agent is older than jobs are.
func Older(err error) bool {
	e := api.AsError(err)
	return e != nil && e.Code == api.CodeNotFound && strings.Contains(e.Message, " /v1/jobs")
}

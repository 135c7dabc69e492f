package action

import (
	"fmt"
	"strconv"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/dustin/go-humanize/english"

	"berth/backend/api"
	"berth/ui/data"
	"berth/ui/dialog"
	"berth/ui/money"
	"berth/ui/screen"
)

// Do does a verb to instances, after asking where something is lost. Of several, those that it
// can't be done to are left out, and that is said.
func Do(e *screen.Env, verb string, rows []*data.Row) tea.Cmd {
	var ok []*data.Row
	why := ""
	for _, r := range rows {
		if w := Why(e, r, verb); w != "" {
			why = w
			continue
		}
		ok = append(ok, r)
	}
	switch {
	case len(rows) == 0:
		return screen.Warn("there is no instance here, or the marked ones are hidden by the filter")
	case len(ok) == 0:
		return screen.Warn(why)
	case verb == Shell:
		return e.Send(screen.Shell{ID: ok[0].ID})
	case verb == Console:
		return e.Send(screen.Open{Name: "console", Arg: ok[0].ID})
	case verb == Clone || verb == Image:
		return askName(e, verb, ok[0])
	case verb == Start || verb == Setup || verb == Snapshot:
		return Run(e, verb, ok, api.ActionRequest{})
	}
	c := ask(e, verb, ok)
	var later tea.Cmd
	if verb == Delete {
		later = countSnapshots(e, c, ok)
		if later == nil {
			later = lookAtTerminals(e, c, ok)
		}
	}
	if verb == Stop || verb == Restart || verb == Delete {
		later = tea.Batch(later, countJobs(e, c, verb, ok))
	}
	if left := len(rows) - len(ok); left > 0 {
		c.Kept = append(c.Kept, fmt.Sprintf("%d of the marked are left out (%s).", left, why))
	}
	e.Send(screen.Show{Dialog: c})
	return later
}

func ask(e *screen.Env, verb string, rows []*data.Row) *dialog.Confirm {
	c := &dialog.Confirm{Verb: title(verb), Command: Command(e, verb, rows), Do: Run(e, verb, rows, api.ActionRequest{})}
	c.Title = title(verb) + " " + names(rows) + "?"
	many := len(rows) > 1
	if many {
		c.Text = list(rows)
	}
	switch verb {
	case Stop:
		c.Lost = append(c.Lost, "Everything that runs there ends: shells, kernels, jobs.")
		c.Kept = append(c.Kept, "The disk, its files and packages stay; it can be started again.")
		if s := rates(rows); s != "" {
			c.Kept = append(c.Kept, s)
		}
	case Restart:
		c.Lost = append(c.Lost, "Everything that runs there ends: shells, kernels, jobs.")
		c.Kept = append(c.Kept, "The disk stays; it comes up again by itself.")
	case LetGo:
		c.Title = "Let go of the set-up of " + names(rows) + "?"
		c.Lost = append(c.Lost, "What it did not come to stays undone, and can't be gone on with.")
		c.Kept = append(c.Kept, "What it has installed stays; another set-up can be begun.")
	case Delete:
		c.Danger = true
		deleted, adopted := 0, 0
		for _, r := range rows {
			if r.Adopted {
				adopted++
			} else {
				deleted++
			}
		}
		if adopted > 0 {
			c.Lost = append(c.Lost, "Berth's own terminals and jobs there end; its agent and folder are removed.")
			c.Kept = append(c.Kept, "An adopted machine is only forgotten: nothing else on it is touched, and it can be adopted again.")
		}
		if deleted == 0 {
			c.Verb, c.Title = "Forget", "Forget "+names(rows)+"?"
			break
		}
		if adopted > 0 {
			c.Title = fmt.Sprintf("Delete %d and forget %d instances?", deleted, adopted)
		}
		if many {
			c.Lost = append(c.Lost, "The disks of "+english.Plural(deleted, "instance", "")+
				" and all files on them. They do not come back.")
			c.Type = strconv.Itoa(len(rows))
			break
		}
		r := rows[0]
		if r.Backend == "local" { // its disk is this computer's, which stays
			c.Lost = append(c.Lost, "The folder "+r.Workdir+" on this computer, and all files in it. They do not come back.")
		} else {
			c.Lost = append(c.Lost, "The disk"+disk(r)+" and all files on it. They do not come back.")
		}
		c.Lost = append(c.Lost, "Everything that runs there ends.")
		c.Type = r.Name
	}
	return c
}

func title(verb string) string {
	if verb == Delete {
		return "Delete"
	}
	return strings.ToUpper(verb[:1]) + strings.ReplaceAll(verb[1:], "-", " ")
}

func disk(r *data.Row) string {
	if r.DiskBytes <= 0 {
		return ""
	}
	return " (" + money.Size(r.DiskBytes) + ")"
}

// list names up to eight instances.
func list(rows []*data.Row) string {
	var b strings.Builder
	for i, r := range rows {
		if i == 8 {
			fmt.Fprintf(&b, " and %d more", len(rows)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(r.Name)
	}
	return b.String()
}

// rates says what stopping saves, where the prices are known.
func rates(rows []*data.Row) string {
	var run, stop float64
	for _, r := range rows {
		if r.RunningUSDPerHour == nil || r.StoppedUSDPerHour == nil {
			return ""
		}
		run += *r.RunningUSDPerHour
		stop += *r.StoppedUSDPerHour
	}
	if stop == 0 {
		return fmt.Sprintf("It costs %s an hour now, and nothing when stopped.", money.USD(run))
	}
	return fmt.Sprintf("It costs %s an hour now; its disk and address go on at %s an hour.", money.USD(run),
		money.USD(stop))
}

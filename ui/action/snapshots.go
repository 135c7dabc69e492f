package action

import (
	"context"
	"fmt"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"berth/backend/api"
	"berth/backend/base/shellquote"
	"berth/ui/data"
	"berth/ui/dialog"
	"berth/ui/screen"
)

// What is done to a snapshot that there is.
const (
	Restore      = "snapshot restore"
	DropSnapshot = "snapshot rm"
)

// NoSnapshots says why an instance has none and can't have any, or "".
func NoSnapshots(r *data.Row) string {
	if r.Capabilities.Snapshots {
		return ""
	}
	return missing(r.Capabilities, "snapshots", "its backend keeps no snapshots")
}

// SnapshotCommand is the command line that does a verb to a snapshot of an instance.
func SnapshotCommand(e *screen.Env, verb string, r *data.Row, name string) string {
	return Command(e, verb, []*data.Row{r}) + " " + shellquote.Word(name)
}

// OnSnapshot does Snapshot, Restore or DropSnapshot. The answer is a screen.Done; after it comes what then
// returns, if it is set.
func OnSnapshot(e *screen.Env, verb string, r *data.Row, name string, then func(error) tea.Msg) tea.Cmd {
	ref := e.Store.Ref(r)
	call := func() tea.Msg {
		d := screen.Done{Verb: verb, Ref: ref}
		q := api.SnapshotRequest{Name: name}
		switch verb {
		case Snapshot:
			d.Op, d.Err = e.WS.Snapshot(e.Ctx, ref, q)
		case Restore:
			d.Op, d.Err = e.WS.Restore(e.Ctx, ref, q)
		case DropSnapshot:
			d.Err = e.WS.DeleteSnapshot(e.Ctx, ref, name)
		}
		if then == nil {
			return d
		}
		return tea.BatchMsg{screen.Send(d), func() tea.Msg { return then(d.Err) }}
	}
	doing := map[string]string{Snapshot: "taking the snapshot " + name + " of ", Restore: "going back to " + name + " on ",
		DropSnapshot: "deleting the snapshot " + name + " of "}[verb]
	return tea.Sequence(screen.Info(doing+r.Name+"   $ "+SnapshotCommand(e, verb, r, name)), call)
}

// countFor bounds how long a provider may take to say how many snapshots go with an instance.
const countFor = 20 * time.Second

// countSnapshots puts a line into a confirmation of a deletion that tells of the snapshots, and returns the
// command that counts them, or nil. The dialog waits for nothing: until the answer comes it does not say how many.
func countSnapshots(e *screen.Env, c *dialog.Confirm, rows []*data.Row) tea.Cmd {
	some := 0
	for _, r := range rows {
		if NoSnapshots(r) == "" && !r.Adopted {
			some++
		}
	}
	if some == 0 {
		return nil
	}
	at := len(c.Lost)
	if len(rows) > 1 {
		c.Lost = append(c.Lost, "Their snapshots go with them.")
		return nil
	}
	c.Lost = append(c.Lost, "Its snapshots go with it.")
	ref := e.Store.Ref(rows[0])
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(e.Ctx, countFor)
		defer cancel()
		list, err := e.WS.Snapshots(ctx, ref)
		if err != nil {
			return nil // the line is true without a number
		}
		return screen.Amend{Do: func() {
			switch len(list) {
			case 0:
				c.Lost[at] = "It has no snapshots."
			case 1:
				c.Lost[at] = "Its snapshot " + list[0].Name + " goes with it."
			default:
				c.Lost[at] = fmt.Sprintf("Its %d snapshots go with it.", len(list))
			}
		}}
	}
}

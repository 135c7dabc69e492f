package job

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"berth/backend/api"
	"berth/queue"
	"berth/queue/plan"
)

// inTurn reports whether a request asks for jobs that wait, those that start next first; place is where the page is
// to go on.
func inTurn(r *http.Request) (place plan.Place, yes bool, err error) {
	v := r.URL.Query()
	if v.Get("order") != "next" {
		return place, false, nil
	}
	if s := v.Get("page"); s != "" {
		if place, err = parsePlace(s); err != nil {
			return place, false, api.Errorf(api.CodeUsage, "page=%.40q is no page of jobs that wait", s)
		}
	}
	return place, true, nil
}

// parsePlace reads what formatPlace makes.
func parsePlace(s string) (p plan.Place, err error) {
	if rest, ok := strings.CutPrefix(s, "blocked,"); ok {
		p.Blocked = true
		_, err = fmt.Sscanf(rest, "%d", &p.Number)
	} else {
		_, err = fmt.Sscanf(s, "%d,%d,%d", &p.Priority, &p.Order, &p.Number)
	}
	if err == nil && formatPlace(p) != s {
		err = fmt.Errorf("%q is no place", s)
	}
	return p, err
}

func formatPlace(p plan.Place) string {
	if p.Blocked {
		return fmt.Sprintf("blocked,%d", p.Number)
	}
	return fmt.Sprintf("%d,%d,%d", p.Priority, p.Order, p.Number)
}

// waiting is a page of the jobs that wait in some states, those that start next first.
func (l *loop) waiting(ctx context.Context, after plan.Place, states []queue.State, most int) (page api.JobPage,
	err error) {
	if most == 0 {
		most = 100
	}
	var ids []queue.ID
	var more bool
	if _, err := l.do(ctx, &ask{look: func(p *plan.Planner) { ids, after, more = p.Waiting(after, most) }}); err != nil {
		return page, explain(err)
	}
	var jobs []queue.Job
	for _, id := range ids {
		j, found, err := l.journal.Job(ctx, id)
		if err != nil {
			return page, l.orGone(err)
		}
		if found && (len(states) == 0 || slices.Contains(states, j.State)) { // else it has begun, or is gone by now
			jobs = append(jobs, j)
		}
	}
	if more {
		page.Next = formatPlace(after)
	}
	page.Jobs, err = l.shown(ctx, jobs)
	return page, err
}

package api

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (q JobQuery) values() url.Values {
	v := url.Values{}
	for _, s := range q.States {
		v.Add("state", string(s))
	}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	for key, value := range map[string]string{"text": q.Text, "array": q.Array, "page": q.Page} {
		if value != "" {
			v.Set(key, value)
		}
	}
	if q.Next {
		v.Set("order", "next")
	}
	if q.Services {
		v.Set("services", "true")
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return v
}

// ReadJobQuery reads what List sends. What it can't read it leaves empty: an agent says what is wrong with it.
func ReadJobQuery(v url.Values) (q JobQuery) {
	for _, s := range v["state"] {
		q.States = append(q.States, JobState(s))
	}
	q.Since, _ = time.Parse(time.RFC3339Nano, v.Get("since"))
	q.Text, q.Array, q.Page = v.Get("text"), v.Get("array"), v.Get("page")
	q.Next, q.Services = v.Get("order") == "next", v.Get("services") == "true"
	q.Limit, _ = strconv.Atoi(v.Get("limit"))
	return q
}

// Fits reports whether a job that is no element is on the first page of what is asked for, but for Limit.
func (q JobQuery) Fits(j *Job) bool {
	words := strings.ToLower(strings.Join(append(slices.Clone(j.Command), j.Name, j.Group, j.SubmittedBy), "\n"))
	return q.Array == "" && q.Services == (j.Service != nil) && q.Page == "" &&
		(len(q.States) == 0 || slices.Contains(q.States, j.State)) &&
		(q.Since.IsZero() || !j.SubmittedAt.Before(q.Since) || !j.EndedAt.Before(q.Since)) &&
		strings.Contains(words, strings.ToLower(q.Text))
}

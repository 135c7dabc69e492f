package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"berth/backend/api"
	"berth/backend/base/plaintext"
)

// Notice is what is told of a job that has ended. Its JSON is what a webhook gets, and a command on its input. Fields
// are only added.
type Notice struct {
	Version int `json:"version"` // 1
	// ID is the same for each try to tell the same end.
	ID   string `json:"id"`
	Text string `json:"text"` // a line for people

	Instance  string       `json:"instance"`
	JobID     string       `json:"job_id"`
	JobUUID   string       `json:"job_uuid"`
	Name      string       `json:"name"`
	State     api.JobState `json:"state"`
	ExitCode  *int         `json:"exit_code"`
	Signal    string       `json:"signal,omitempty"`
	Cause     string       `json:"cause,omitempty"`
	By        string       `json:"by,omitempty"`
	Message   string       `json:"message,omitempty"`
	Attempt   int          `json:"attempt"`
	Elements  *api.Tally   `json:"elements,omitempty"` // of an array
	StartedAt time.Time    `json:"started_at,omitzero"`
	EndedAt   time.Time    `json:"ended_at,omitzero"`
	// DurationSeconds is of the last run; 0: it never ran.
	DurationSeconds float64 `json:"duration_seconds"`
	// LastLines is the end of the log of a failure.
	LastLines string `json:"last_lines,omitempty"`
}

// Of is the notice of a job that is done, on an instance.
func Of(j *api.Job, instance string) Notice {
	n := Notice{Version: 1, Instance: instance, JobUUID: plaintext.Clean(j.UUID), Name: plaintext.Clean(j.Name),
		State: j.State, ExitCode: j.ExitCode, Signal: j.Signal, Cause: j.Cause, By: plaintext.Clean(j.By),
		Message: plaintext.Clean(j.Message), Attempt: j.Attempt, Elements: j.Elements, StartedAt: j.StartedAt,
		EndedAt: j.EndedAt, LastLines: plaintext.Text(j.LastLines)}
	if j.ID != nil {
		n.JobID = *j.ID
	}
	if !j.StartedAt.IsZero() && j.EndedAt.After(j.StartedAt) {
		n.DurationSeconds = j.EndedAt.Sub(j.StartedAt).Seconds()
	}
	n.ID = strings.Join([]string{instance, n.JobID, strconv.FormatInt(j.EndedAt.UnixMilli(), 10)}, "/")
	n.Text = n.line()
	return n
}

// line says the end for people.
func (n *Notice) line() string {
	s := "job " + n.JobID
	if n.Name != "" {
		s += " (" + n.Name + ")"
	}
	if n.Instance != "" {
		s += " on " + n.Instance
	}
	s += " " + strings.ReplaceAll(string(n.State), "_", " ")
	switch {
	case n.Elements != nil:
		s += fmt.Sprintf(": %d of %d succeeded", n.Elements.Succeeded, n.Elements.All)
	case n.Message != "":
		s += ": " + n.Message
	case n.Signal != "":
		s += ": signal " + n.Signal
	case n.ExitCode != nil && *n.ExitCode != 0:
		s += ": exit code " + strconv.Itoa(*n.ExitCode)
	}
	if n.DurationSeconds > 0 {
		s += ", after " + time.Duration(n.DurationSeconds*float64(time.Second)).Round(time.Second).String()
	}
	return s
}

// json is the document.
func (n *Notice) json() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(n)
	return b.Bytes(), err
}

// env are the variables that a command gets, over the login environment.
func (n *Notice) env() []string {
	code := ""
	if n.ExitCode != nil {
		code = strconv.Itoa(*n.ExitCode)
	}
	return []string{"BERTH_NOTICE_ID=" + n.ID, "BERTH_NOTICE_TEXT=" + n.Text, "BERTH_INSTANCE=" + n.Instance,
		"BERTH_JOB_ID=" + n.JobID, "BERTH_JOB_UUID=" + n.JobUUID, "BERTH_JOB_NAME=" + n.Name,
		"BERTH_JOB_STATE=" + string(n.State), "BERTH_JOB_EXIT_CODE=" + code, "BERTH_JOB_SIGNAL=" + n.Signal,
		"BERTH_JOB_CAUSE=" + n.Cause, "BERTH_JOB_MESSAGE=" + n.Message, "BERTH_ATTEMPT=" + strconv.Itoa(n.Attempt),
		"BERTH_JOB_SECONDS=" + strconv.FormatFloat(n.DurationSeconds, 'f', 3, 64), "BERTH_JOB_LAST_LINES=" + n.LastLines}
}

// Tell tells a hook, once. env is the login environment; a command is run in dir. The error is for people, and has
// nothing of the hook.
func (h Hook) Tell(ctx context.Context, n Notice, env []string, dir string) error {
	if h.URL != "" {
		return post(ctx, h.URL, &n, env)
	}
	return command(ctx, h.Command, &n, env, dir)
}

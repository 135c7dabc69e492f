package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// JobsClient has calls about the jobs of one instance, answered by its agent.
type JobsClient struct{ c *AgentClient }

// Jobs returns the calls about an instance's jobs.
func (c *AgentClient) Jobs() JobsClient { return JobsClient{c} }

func (c JobsClient) call(ctx context.Context, method, path string, body, out any) error {
	return orOlder(method, c.c.call(ctx, method, path, body, out))
}

// orOlder says of an agent that has no such route that it is older than this.
func orOlder(method string, err error) error {
	var e *Error
	if errors.As(err, &e) && e.Code == CodeNotFound && strings.HasPrefix(e.Message, "there is no "+method+" /v1/jobs") {
		return older("keeps no queue of jobs")
	}
	return err
}

// older says what an agent does not that is older than this.
func older(what string) error {
	return Errorf(CodeUnsupported, "the agent there is older than this Berth and %s", what).
		WithHint("it is replaced when a newer release connects to it; restarting the instance does that, too")
}

func jobPath(id string, verb ...string) string {
	p := "/v1/jobs/" + url.PathEscape(id)
	for _, v := range verb {
		p += "/" + v
	}
	return p
}

// Submit asks for a job. When it returns, the job is on the instance's disk.
func (c JobsClient) Submit(ctx context.Context, q JobRequest) (Job, error) {
	return c.submit(ctx, "/v1/jobs", q)
}

// SubmitOrKeep is Submit; where the instance does not run, the service keeps the job until it does. Such a job has no
// ID yet, and is known by its UUID.
func (c JobsClient) SubmitOrKeep(ctx context.Context, q JobRequest) (Job, error) {
	return c.submit(ctx, "/v1/jobs?keep=true", q)
}

func (c JobsClient) submit(ctx context.Context, path string, q JobRequest) (Job, error) {
	var v Job
	if err := q.readable(); err != nil {
		return v, err
	}
	err := understood(c.call(ctx, http.MethodPost, path, q.carried(), &v))
	if c.c.prefix == "" || !errors.Is(err, &Error{Code: CodeNoEngine}) {
		return v, err
	}
	// The first job with an image: the workspace brings what runs it.
	if _, err := c.PutEngine(ctx, EngineRequest{}); err != nil {
		return v, err
	}
	return v, understood(c.call(ctx, http.MethodPost, path, q.carried(), &v))
}

// understood says of an agent that does not know what is asked for that it is older than this.
func understood(err error) error {
	if e := AsError(err); e != nil && e.Code == CodeUsage {
		if _, field, ok := strings.Cut(e.Message, "json: unknown field "); ok {
			return older("knows nothing of " + field)
		}
	}
	return err
}

// Get returns a job.
func (c JobsClient) Get(ctx context.Context, id string) (Job, error) {
	var v Job
	return v, c.call(ctx, http.MethodGet, jobPath(id), nil, &v)
}

// Wait returns a job when it has changed since a change number, or after about 25 seconds as it is.
func (c JobsClient) Wait(ctx context.Context, id string, seq int64) (Job, error) {
	var v Job
	return v, c.call(ctx, http.MethodGet, jobPath(id)+"?after="+strconv.FormatInt(seq, 10), nil, &v)
}

// Changes returns what has changed since a change number of an epoch, when there is something, or after about 25
// seconds nothing. Without an epoch, or with one that is no more, it answers at once.
func (c JobsClient) Changes(ctx context.Context, epoch string, after int64) (JobChanges, error) {
	v := url.Values{"epoch": {epoch}, "after": {strconv.FormatInt(after, 10)}}
	var x JobChanges
	return x, c.c.call(ctx, http.MethodGet, "/v1/jobs/changes?"+v.Encode(), nil, &x)
}

// List returns a page of jobs.
func (c JobsClient) List(ctx context.Context, q JobQuery) (JobPage, error) {
	var p JobPage
	return p, c.call(ctx, http.MethodGet, "/v1/jobs?"+q.values().Encode(), nil, &p)
}

// Do tells a job something: cancel, hold, release, pause, resume or retry. An array's id means all its elements.
func (c JobsClient) Do(ctx context.Context, id, verb string) (Job, error) {
	var v Job
	return v, c.call(ctx, http.MethodPost, jobPath(id, verb), nil, &v)
}

// SetPriority changes the priority of a job that is not done: a higher one goes first.
func (c JobsClient) SetPriority(ctx context.Context, id string, priority int) (Job, error) {
	return c.order(ctx, id, "priority", strconv.Itoa(priority))
}

// Move changes the place of a job among those of its priority that wait: "up", "down", "top" or "end".
func (c JobsClient) Move(ctx context.Context, id, to string) (Job, error) {
	return c.order(ctx, id, "move", to)
}

func (c JobsClient) order(ctx context.Context, id, verb, to string) (Job, error) {
	var v Job
	return v, c.c.call(ctx, http.MethodPost, jobPath(id, verb)+"?to="+url.QueryEscape(to), nil, &v)
}

// Remove forgets a job that is done, with its logs; an array with all its elements.
func (c JobsClient) Remove(ctx context.Context, id string) error {
	return c.c.call(ctx, http.MethodDelete, jobPath(id), nil, nil)
}

// Drain has the queue start nothing for a while, and returns how many jobs run and wait then.
func (c JobsClient) Drain(ctx context.Context, q DrainRequest) (JobCounts, error) {
	var v JobCounts
	return v, c.c.call(ctx, http.MethodPost, "/v1/queue/drain", q, &v)
}

// LogOptions is which part of a job's log is asked for.
type LogOptions struct {
	Follow bool
	Tail   int   // the last lines; 0: all
	From   int64 // an offset; not with Tail
	Run    int   // the number of the attempt; 0: the newest
}

// Log hands a job's log to each, piece by piece: what a part says, and its bytes. It returns when the log ends, or is
// read to where it is now. Where it fails in between, From and Run go on from what was handed over.
func (c JobsClient) Log(ctx context.Context, id string, o LogOptions, each func(JobLogPart, []byte) error) error {
	v := url.Values{"from": {strconv.FormatInt(o.From, 10)}, "run": {strconv.Itoa(o.Run)}, "tail": {strconv.Itoa(o.Tail)}}
	if o.Follow {
		v.Set("follow", "true")
	}
	res, err := c.c.open(ctx, http.MethodGet, jobPath(id, "log")+"?"+v.Encode())
	if err != nil {
		return orOlder(http.MethodGet, err)
	}
	defer res.Body.Close()
	r := bufio.NewReaderSize(res.Body, 64<<10)
	for {
		p, b, err := readLogPart(r)
		switch {
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return Errorf(CodeUnreachable, "the log of job %s broke off: %w", id, err)
		}
		if err := each(p, b); err != nil || p.End {
			return err
		}
	}
}

// maxLogPart bounds one part, in bytes.
const maxLogPart = 1 << 20

func readLogPart(r *bufio.Reader) (p JobLogPart, b []byte, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return p, nil, err
	}
	if err := json.Unmarshal(line, &p); err != nil {
		return p, nil, fmt.Errorf("what comes before a part can't be read: %w", err)
	}
	if p.Bytes < 0 || p.Bytes > maxLogPart || p.At < 0 {
		return p, nil, fmt.Errorf("a part of %d bytes at %d", p.Bytes, p.At)
	}
	b = make([]byte, p.Bytes)
	_, err = io.ReadFull(r, b)
	return p, b, err
}

// readable refuses what the request can carry as text only, and is none: it would arrive as something else.
func (q JobRequest) readable() error {
	one := func(s string) []string { return []string{s} }
	for _, f := range []struct {
		what string
		all  []string
	}{{"name", one(q.Name)}, {"group", one(q.Group)}, {"conda environment", one(q.Conda)}, {"venv", one(q.Venv)},
		{"parameter", q.Params}, {"file of parameters", one(q.ParamFile)}} {
		for _, s := range f.all {
			if !utf8.ValidString(s) {
				return Errorf(CodeUsage, "the %s %.60q is no text in UTF-8", f.what, s).
					WithHint("say it in UTF-8; arguments, variables and folders may be any bytes")
			}
		}
	}
	return nil
}

// carried is q as it is sent.
func (q JobRequest) carried() JobRequest {
	for _, list := range [][]string{q.Argv, q.Env, {q.Workdir}} {
		for _, s := range list {
			if !utf8.ValidString(s) {
				q.Bytes = &ExecBytes{Argv: allBytes(q.Argv), Dir: []byte(q.Workdir), Env: allBytes(q.Env)}
				q.Argv, q.Workdir, q.Env = nil, "", nil
				return q
			}
		}
	}
	return q
}

// Meant is q as it was before it was sent.
func (q JobRequest) Meant() JobRequest {
	if b := q.Bytes; b != nil {
		q.Argv, q.Workdir, q.Env, q.Bytes = allStrings(b.Argv), string(b.Dir), allStrings(b.Env), nil
	}
	return q
}

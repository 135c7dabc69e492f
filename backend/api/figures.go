package api

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"berth/gpu"
)

// ProcessSearch asks for processes beside those that a sample shows anyway: those of the instance's terminals and
// commands, those on GPUs, and those that use most. An agent from before it sends only these.
type ProcessSearch struct {
	Filter string // words that must all occur in what is shown of a process; one with "!" before it must not
	PIDs   []int
}

func (s ProcessSearch) add(q url.Values) string {
	if s.Filter != "" {
		q.Set("filter", s.Filter)
	}
	for _, pid := range s.PIDs {
		q.Add("pid", strconv.Itoa(pid))
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// Match reports whether a process is one that is searched for; without a search, each is.
func (s ProcessSearch) Match() func(*gpu.Process) bool {
	filter := gpu.ProcessFilter(s.Filter)
	return func(p *gpu.Process) bool {
		return filter == nil && len(s.PIDs) == 0 || slices.Contains(s.PIDs, p.PID) || filter != nil && filter(p)
	}
}

// Figures returns one sample of the host that the agent runs on.
func (c *AgentClient) Figures(ctx context.Context, search ProcessSearch) (gpu.Sample, error) {
	var v gpu.Sample
	return v, c.call(ctx, http.MethodGet, "/v1/figures"+search.add(url.Values{}), nil, &v)
}

// WatchFigures calls each with a sample now and then every so often (at least a second), until ctx ends or
// each fails. While it lasts the agent samples at that pace.
func (c *AgentClient) WatchFigures(ctx context.Context, every time.Duration, search ProcessSearch,
	each func(gpu.Sample) error) error {
	q := url.Values{"watch": {"true"}, "every": {every.String()}}
	res, err := c.open(ctx, http.MethodGet, "/v1/figures"+search.add(q))
	if err != nil {
		return err
	}
	return decodeStream(ctx, res, each)
}

// WatchSummary is WatchFigures with less in it.
func (c *AgentClient) WatchSummary(ctx context.Context, every time.Duration, each func(gpu.Summary) error) error {
	res, err := c.open(ctx, http.MethodGet, "/v1/summary?watch=true&every="+url.QueryEscape(every.String()))
	if err != nil {
		return err
	}
	return decodeStream(ctx, res, each)
}

// HistoryOptions says what of the history is asked for.
type HistoryOptions struct {
	Metrics []string // names of gpu.Metrics; empty: all
	Subject string   // a GPU's UUID, a mount, an interface; empty: all
	Since   time.Time
	Until   time.Time // zero: now
	Points  int       // at most so many a series, in the finest step that fits; 0: 1000
}

// History returns what the agent measured while nobody looked.
func (c *AgentClient) History(ctx context.Context, o HistoryOptions) ([]gpu.Series, error) {
	q := url.Values{}
	for _, m := range o.Metrics {
		q.Add("metric", m)
	}
	if o.Subject != "" {
		q.Set("subject", o.Subject)
	}
	if !o.Since.IsZero() {
		q.Set("since", o.Since.UTC().Format(time.RFC3339Nano))
	}
	if !o.Until.IsZero() {
		q.Set("until", o.Until.UTC().Format(time.RFC3339Nano))
	}
	if o.Points > 0 {
		q.Set("points", strconv.Itoa(o.Points))
	}
	var v []gpu.Series
	return v, c.call(ctx, http.MethodGet, "/v1/history?"+q.Encode(), nil, &v)
}

// SignalRequest asks for a signal to a process. StartedAt keeps a PID that was given to another process
// meanwhile from being hit.
type SignalRequest struct {
	Signal    string    `json:"signal"` // "TERM", "INT", "KILL", "HUP", "STOP", "CONT", "USR1", "USR2"
	StartedAt time.Time `json:"started_at"`
	// Other allows a process of another user (with root); without it the call fails with CodeRefused.
	Other bool `json:"other,omitempty"`
}

// SignalProcess sends a signal. PID 1, kernel threads and Berth's own agent are refused.
func (c *AgentClient) SignalProcess(ctx context.Context, pid int, r SignalRequest) error {
	return c.call(ctx, http.MethodPost, "/v1/processes/"+strconv.Itoa(pid)+"/signal", r, nil)
}

// Metrics writes the figures of the host to w, in Prometheus' text format.
func (c *AgentClient) Metrics(ctx context.Context, w io.Writer) error {
	res, err := c.open(ctx, http.MethodGet, "/v1/metrics")
	return copyMetrics(w, res, err)
}

// copyMetrics writes a document of figures, if it was answered, to w.
func copyMetrics(w io.Writer, res *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(w, res.Body); err != nil {
		return Errorf(CodeUnreachable, "reading the figures: %w", err)
	}
	return nil
}

// FleetFigures is one line of the fleet's figures: what is new of one instance.
type FleetFigures struct {
	Instance string       `json:"instance"` // its id
	Summary  *gpu.Summary `json:"summary,omitempty"`
	// Silent says since when its agent has said nothing, and Why in which words; Summary stays the last one known.
	Silent *time.Time `json:"silent_since,omitempty"`
	Why    string     `json:"why,omitempty"`
	// Attention is what the workspace itself finds of the instance (an idle GPU that is billed, a silent agent)
	// together with what the agent finds. It is set in each line that has a Summary or Silent.
	Attention []Attention `json:"attention,omitempty"`
	// IdleToday is what its GPUs did not do today; nil: it has none, or did not run. It is set in each line.
	IdleToday *IdleToday `json:"idle_today,omitempty"`
}

// IdleToday says for how long the GPUs of an instance were idle today (of the daemon's clock and zone: the day of
// Instance.CostTodayUSD), and what that cost. Times of which nothing is known count as busy.
type IdleToday struct {
	Day        string  `json:"day"`         // 2006-01-02
	GPUSeconds float64 `json:"gpu_seconds"` // of each GPU by itself, in whole minutes that are over
	// USD is the GPUs' share of the instance's price an hour for that time; nil: it can't be told, and Why says so.
	USD *float64 `json:"usd,omitempty"`
	// SumUSD is what of USD counts in a sum over the fleet, where another instance shows the same GPUs; nil: all of it.
	SumUSD *float64 `json:"sum_usd,omitempty"`
	// Why says what of the day is not known.
	Why string `json:"why,omitempty"`
}

// Attention is a finding of one instance, with what people said of it.
type Attention struct {
	gpu.Finding
	Acknowledged bool       `json:"acknowledged,omitempty"`
	MutedUntil   *time.Time `json:"muted_until,omitempty"`
	// Host identifies the host that it is about, where other instances may run on the same one and find the same; empty:
	// it is about this instance alone.
	Host string `json:"host,omitempty"`
}

// About identifies what a finding of an instance (by its id) is about. Findings of several instances about the same
// are one, and what is said of one of them counts for all.
func (a *Attention) About(instance string) string {
	if a.Host != "" {
		instance = a.Host
	}
	return instance + " " + a.ID
}

// WatchFleet calls each with the last known figures of every instance, and then with new ones as they
// come, until ctx ends or each fails. While it lasts the daemon follows every running instance.
func (c *WorkspaceClient) WatchFleet(ctx context.Context, every time.Duration, each func(FleetFigures) error) error {
	res, err := c.transport().open(ctx, http.MethodGet, "/v1/figures?every="+url.QueryEscape(every.String()), nil)
	if err != nil {
		return err
	}
	return decodeStream(ctx, res, each)
}

// AttentionRequest is what somebody says of a finding.
type AttentionRequest struct {
	Finding string `json:"finding"` // its id
	// Acknowledge hides it until it goes and comes again.
	Acknowledge bool `json:"acknowledge,omitempty"`
	// MuteSeconds keeps its rule quiet on this instance for so long; 0 with Acknowledge false takes both back.
	MuteSeconds float64 `json:"mute_seconds,omitempty"`
}

// Attend acknowledges or mutes a finding of an instance.
func (c *WorkspaceClient) Attend(ctx context.Context, name string, r AttentionRequest) error {
	return c.transport().call(ctx, http.MethodPost, instancePath(name)+"/attention", r, nil)
}

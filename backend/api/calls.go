package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// ListOptions filters Instances. Zero fields do not filter.
type ListOptions struct {
	Mine    bool
	Backend string
	State   State
}

func (o ListOptions) query() string {
	q := url.Values{}
	if o.Mine {
		q.Set("mine", "true")
	}
	if o.Backend != "" {
		q.Set("backend", o.Backend)
	}
	if o.State != "" {
		q.Set("state", string(o.State))
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// Info returns what the daemon says of itself.
func (c *Client) Info(ctx context.Context) (Info, error) {
	var v Info
	return v, c.call(ctx, http.MethodGet, "/v1/info", nil, &v)
}

// Instances lists the fleet in name order.
func (c *Client) Instances(ctx context.Context, o ListOptions) ([]Instance, error) {
	var v []Instance
	return v, c.call(ctx, http.MethodGet, "/v1/instances"+o.query(), nil, &v)
}

// Instance returns one instance by name or BACKEND/NAME, or CodeNotFound.
func (c *Client) Instance(ctx context.Context, name string) (Instance, error) {
	var v Instance
	return v, c.call(ctx, http.MethodGet, instancePath(name), nil, &v)
}

// Create starts the creation of an instance and returns its operation.
func (c *Client) Create(ctx context.Context, r CreateRequest) (Operation, error) {
	var v Operation
	return v, c.call(ctx, http.MethodPost, "/v1/instances", r, &v)
}

// Adopt starts taking in a machine that exists and returns the operation.
func (c *Client) Adopt(ctx context.Context, r AdoptRequest) (Operation, error) {
	var v Operation
	return v, c.call(ctx, http.MethodPost, "/v1/adopt", r, &v)
}

// Action starts "start", "stop", "restart" or "delete" of an instance and returns the operation. The same
// action asked for twice is one operation.
func (c *Client) Action(ctx context.Context, name, action string, r ActionRequest) (Operation, error) {
	var v Operation
	return v, c.call(ctx, http.MethodPost, instancePath(name)+"/"+url.PathEscape(action), r, &v)
}

// Refresh asks the provider for the instance's state now.
func (c *Client) Refresh(ctx context.Context, name string) (Instance, error) {
	var v Instance
	return v, c.call(ctx, http.MethodPost, instancePath(name)+"/refresh", nil, &v)
}

// Console returns the last output of the instance's console.
func (c *Client) Console(ctx context.Context, name string) (string, error) {
	var v struct {
		Text string `json:"text"`
	}
	return v.Text, c.call(ctx, http.MethodGet, instancePath(name)+"/console", nil, &v)
}

// Operation returns one operation by id.
func (c *Client) Operation(ctx context.Context, id string) (Operation, error) {
	var v Operation
	return v, c.call(ctx, http.MethodGet, "/v1/operations/"+url.PathEscape(id), nil, &v)
}

// Operations lists the operations under way, oldest first.
func (c *Client) Operations(ctx context.Context) ([]Operation, error) {
	var v []Operation
	return v, c.call(ctx, http.MethodGet, "/v1/operations", nil, &v)
}

// FollowOperation calls each with the operation now and after every change, until it is done. It
// returns the last document.
func (c *Client) FollowOperation(ctx context.Context, id string, each func(Operation)) (Operation, error) {
	var last Operation
	res, err := c.open(ctx, http.MethodGet, "/v1/operations/"+url.PathEscape(id)+"?follow=true", nil)
	if err != nil {
		return last, err
	}
	err = decodeStream(ctx, res, func(o Operation) error {
		last = o
		if each != nil {
			each(o)
		}
		return nil
	})
	if err == nil && !last.State.Done() {
		err = Errorf(CodeUnreachable, "the daemon ended while %s of %q was under way; it goes on at the next call", last.Kind, last.Instance)
	}
	return last, err
}

// EventOptions filters Events.
type EventOptions struct {
	Instance string
	Since    int64 // only events with a greater Seq
	Limit    int   // the newest so many; 0: 1000
}

func (o EventOptions) query(follow bool) string {
	q := url.Values{}
	if o.Instance != "" {
		q.Set("instance", o.Instance)
	}
	if o.Since > 0 {
		q.Set("since", strconv.FormatInt(o.Since, 10))
	}
	if o.Limit > 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	if follow {
		q.Set("follow", "true")
	}
	return "/v1/events?" + q.Encode()
}

// Events returns recorded events, oldest first.
func (c *Client) Events(ctx context.Context, o EventOptions) ([]Event, error) {
	var v []Event
	return v, c.call(ctx, http.MethodGet, o.query(false), nil, &v)
}

// FollowEvents calls each with recorded events and then with new ones until ctx ends.
func (c *Client) FollowEvents(ctx context.Context, o EventOptions, each func(Event) error) error {
	res, err := c.open(ctx, http.MethodGet, o.query(true), nil)
	if err != nil {
		return err
	}
	return decodeStream(ctx, res, each)
}

// Watch streams the fleet: a snapshot in batches, then every change as it happens, until ctx ends
// or the daemon goes (nil or CodeUnreachable: call again).
func (c *Client) Watch(ctx context.Context, each func(Change) error) error {
	res, err := c.open(ctx, http.MethodGet, "/v1/watch", nil)
	if err != nil {
		return err
	}
	return decodeStream(ctx, res, each)
}

// Backends describes the backends that can be used.
func (c *Client) Backends(ctx context.Context) ([]BackendInfo, error) {
	var v []BackendInfo
	return v, c.call(ctx, http.MethodGet, "/v1/backends", nil, &v)
}

// Sizes lists sizes; backend may be empty for all.
func (c *Client) Sizes(ctx context.Context, backend string) ([]Size, error) {
	var v []Size
	return v, c.call(ctx, http.MethodGet, "/v1/sizes?backend="+url.QueryEscape(backend), nil, &v)
}

// Images lists images; backend may be empty for all.
func (c *Client) Images(ctx context.Context, backend string) ([]Image, error) {
	var v []Image
	return v, c.call(ctx, http.MethodGet, "/v1/images?backend="+url.QueryEscape(backend), nil, &v)
}

// CheckName says whether a new instance may have this name: nil, or an error that says why not.
func (c *Client) CheckName(ctx context.Context, backend, name string) error {
	return c.call(ctx, http.MethodGet, "/v1/names/"+url.PathEscape(name)+"?backend="+url.QueryEscape(backend), nil, nil)
}

// Doctor runs the daemon's checks.
func (c *Client) Doctor(ctx context.Context) ([]Check, error) {
	var v []Check
	return v, c.call(ctx, http.MethodGet, "/v1/doctor", nil, &v)
}

// RemoveOrphan deletes a leftover that Doctor named.
func (c *Client) RemoveOrphan(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/v1/orphans/"+url.PathEscape(id), nil, nil)
}

// StopDaemon ends the daemon after what it is writing; operations go on in the next daemon.
func (c *Client) StopDaemon(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/daemon/stop", nil, nil)
}

// StopIdleDaemon ends the daemon if nobody else uses it and nothing is under way; else that is CodeConflict.
func (c *Client) StopIdleDaemon(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/daemon/stop?idle=true", nil, nil)
}

// AgentInfo returns what an agent says of itself. The client must be one of an agent.
func (c *Client) AgentInfo(ctx context.Context) (AgentInfo, error) {
	var v AgentInfo
	return v, c.call(ctx, http.MethodGet, "/v1/info", nil, &v)
}

// Terminals lists an agent's terminals, oldest first.
func (c *Client) Terminals(ctx context.Context) ([]Terminal, error) {
	var v []Terminal
	return v, c.call(ctx, http.MethodGet, "/v1/terminals", nil, &v)
}

// KillTerminal ends a terminal and its processes.
func (c *Client) KillTerminal(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/v1/terminals/"+url.PathEscape(id), nil, nil)
}

// StopAgent ends an agent. It answers when all is ended.
func (c *Client) StopAgent(ctx context.Context, r StopRequest) error {
	return c.call(ctx, http.MethodPost, "/v1/stop", r, nil)
}

// FollowAgentEvents streams an agent's events until ctx ends.
func (c *Client) FollowAgentEvents(ctx context.Context, each func(Event) error) error {
	res, err := c.open(ctx, http.MethodGet, "/v1/events", nil)
	if err != nil {
		return err
	}
	return decodeStream(ctx, res, each)
}

// Questions streams the questions that this client's calls cause and answers them with c.Answer,
// until ctx ends. It does nothing where Answer is nil.
func (c *Client) Questions(ctx context.Context) error {
	if c.Answer == nil {
		return nil
	}
	c.init()
	res, err := c.open(ctx, http.MethodGet, "/v1/questions?client="+c.id, nil)
	if err != nil {
		return err
	}
	return decodeStream(ctx, res, func(q Question) error {
		a, err := c.Answer(ctx, q)
		if err != nil {
			a = Answer{Refused: true}
		}
		// The question may have been answered elsewhere or timed out meanwhile: that is no fault of this stream.
		_ = c.call(ctx, http.MethodPost, "/v1/questions/"+url.PathEscape(q.ID), a, nil)
		return nil
	})
}

// WithQuestions runs f and, if it takes longer than a moment, answers the questions that it causes.
func (c *Client) WithQuestions(ctx context.Context, f func(context.Context) error) error {
	if c.Answer == nil {
		return f(ctx)
	}
	qctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTimer(60 * time.Millisecond)
		defer t.Stop()
		select {
		case <-qctx.Done():
		case <-t.C:
			_ = c.root().Questions(qctx) // it ends with the daemon; f's own error tells
		}
	}()
	err := f(ctx)
	cancel()
	<-done
	return err
}

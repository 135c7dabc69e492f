package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// CallerHeader carries who calls: base64 of the JSON of CallerDocument.
const CallerHeader = "Berth-Caller"

// CapabilityHeader carries the protocol capability number of the sender.
const CapabilityHeader = "Berth-Capability"

// CallerDocument is what a client says of itself with each call.
type CallerDocument struct {
	ClientID    string            `json:"client_id"`
	Interactive bool              `json:"interactive"` // somebody is there to answer questions
	Env         map[string]string `json:"env,omitempty"`
}

// Client calls a workspace or an agent. Dial must be set; the other fields may stay zero. It is safe
// for concurrent use. Errors are *Error; where nothing answers, their code is CodeUnreachable.
type Client struct {
	// Dial opens a connection to the service. It may start the daemon.
	Dial func(ctx context.Context) (net.Conn, error)
	// Prefix is put before each path: "/v1/instances/NAME/agent" turns a client of the workspace
	// into one of an instance's agent.
	Prefix string
	// Env is sent along, so that the work runs with the caller's agents and credentials.
	Env map[string]string
	// Answer, if set, answers the questions that the calls cause.
	Answer func(ctx context.Context, q Question) (Answer, error)

	parent *Client
	once   sync.Once
	http   *http.Client
	caller string
	id     string
}

// Agent returns a client of the named instance's agent, through this client of the workspace.
func (c *Client) Agent(instance string) *Client {
	return &Client{Dial: c.Dial, Prefix: c.Prefix + instancePath(instance) + "/agent", Env: c.Env, Answer: c.Answer, parent: c}
}

// root is the client of the workspace that c was made from: questions are asked there.
func (c *Client) root() *Client {
	if c.parent != nil {
		return c.parent.root()
	}
	return c
}

func instancePath(name string) string { return "/v1/instances/" + url.PathEscape(name) }

func (c *Client) init() {
	c.once.Do(func() {
		if c.parent != nil {
			c.parent.init()
			c.id = c.parent.id
		} else {
			var b [8]byte
			_, _ = rand.Read(b[:]) // never fails (crypto/rand)
			c.id = hex.EncodeToString(b[:])
		}
		doc, _ := json.Marshal(CallerDocument{ClientID: c.id, Interactive: c.Answer != nil, Env: c.Env})
		c.caller = base64.StdEncoding.EncodeToString(doc)
		c.http = &http.Client{Transport: &http.Transport{
			DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return c.Dial(ctx) },
			DisableCompression:  true,
			MaxIdleConnsPerHost: 8,
			IdleConnTimeout:     time.Minute,
		}}
	})
}

// Close lets go of idle connections.
func (c *Client) Close() {
	c.init()
	c.http.CloseIdleConnections()
}

func (c *Client) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	c.init()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encoding the request: %w", err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://berth"+c.Prefix+path, r)
	if err != nil {
		return nil, err
	}
	req.Header.Set(CallerHeader, c.caller)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// call does one request and decodes the answer into out, which may be nil.
func (c *Client) call(ctx context.Context, method, path string, body, out any) error {
	res, err := c.open(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return Errorf(CodeFailed, "reading the answer to %s %s: %w", method, path, err)
	}
	return nil
}

// open does one request and returns the answer if it is a success.
func (c *Client) open(ctx context.Context, method, path string, body any) (*http.Response, error) {
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil && method == http.MethodGet && ctx.Err() == nil && !errors.As(err, new(*Error)) {
		// Whoever was asked has ended meanwhile; Dial finds the next one, and to ask again does no harm.
		res, err = c.http.Do(req)
	}
	if err != nil {
		return nil, callError(ctx, err)
	}
	if res.StatusCode/100 != 2 {
		defer res.Body.Close()
		return nil, readError(res)
	}
	return res, nil
}

// callError turns a transport error into an *Error, keeping one that Dial returned.
func callError(ctx context.Context, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return Errorf(CodeUnreachable, "no answer from Berth's service: %w", err)
}

// readError decodes the error document of an answer; at most 64 KiB of it are read.
func readError(res *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	var doc ErrorDocument
	if err := json.Unmarshal(b, &doc); err == nil && doc.Error != nil && doc.Error.Message != "" {
		return doc.Error
	}
	code := CodeFailed
	if res.StatusCode == http.StatusNotFound {
		code = CodeNotFound
	}
	return Errorf(code, "the service answered %s: %.200s", res.Status, bytes.TrimSpace(b))
}

// decodeStream reads NDJSON documents until the stream or ctx ends. A clean end returns nil.
func decodeStream[T any](ctx context.Context, res *http.Response, each func(T) error) error {
	defer res.Body.Close()
	dec := json.NewDecoder(res.Body)
	for {
		var v T
		if err := dec.Decode(&v); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return Errorf(CodeUnreachable, "the stream from Berth's service broke off: %w", err)
		}
		if err := each(v); err != nil {
			return err
		}
	}
}

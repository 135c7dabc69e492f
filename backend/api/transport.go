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
	"time"
)

// CallerHeader carries who calls: base64 of the JSON of CallerDocument.
const CallerHeader = "Berth-Caller"

// CallerDocument is what a client says of itself with each call.
type CallerDocument struct {
	ClientID    string            `json:"client_id"`
	Interactive bool              `json:"interactive"` // somebody is there to answer questions
	Env         map[string]string `json:"env,omitempty"`
}

// Dialer opens a connection to a service.
type Dialer = func(ctx context.Context) (net.Conn, error)

// transport carries the calls of a client to its service. The clients of both services have one; an agent's client
// that goes through the workspace shares the workspace's.
type transport struct {
	dial   Dialer
	caller string // the value of CallerHeader
	home   Home   // of an agent's client
	http   *http.Client
	watch  *watch // nil: calls that are not answered are waited for
}

// callKey is for the context of the call that a connection is dialled for. A dial ends with its call, which net/http
// does not see to: what it asks would be asked for nobody.
type callKey struct{}

func newTransport(dial Dialer, caller CallerDocument) *transport {
	doc, _ := json.Marshal(caller) // strings and a bool: it can't fail
	caller64 := base64.StdEncoding.EncodeToString(doc)
	return &transport{dial: dial, caller: caller64, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if call, ok := ctx.Value(callKey{}).(context.Context); ok {
				var cancel context.CancelFunc
				ctx, cancel = context.WithCancel(ctx)
				defer cancel()
				defer context.AfterFunc(call, cancel)()
			}
			return dial(ctx)
		},
		DisableCompression:  true,
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     time.Minute,
	}}}
}

// clientID makes the id by which a service knows one client from another.
func clientID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

func instancePath(name string) string { return "/v1/instances/" + url.PathEscape(name) }

func (t *transport) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encoding the request: %w", err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://berth"+path, r)
	if err != nil {
		return nil, err
	}
	req.Header.Set(CallerHeader, t.caller)
	SetHome(req.Header, t.home)
	sayVersion(req.Header)
	if method == http.MethodPut || method == http.MethodDelete {
		// Not sent: it lets the transport ask again where the other side closed a kept connection, as for GET.
		req.Header["X-Idempotency-Key"] = nil
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// call does one request and decodes the answer into out, which may be nil.
func (t *transport) call(ctx context.Context, method, path string, body, out any) error {
	res, err := t.open(ctx, method, path, body)
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
func (t *transport) open(ctx context.Context, method, path string, body any) (*http.Response, error) {
	// Kept connections are to the one that has made way.
	return again(ctx, t.http.CloseIdleConnections, func() (*http.Response, error) {
		return t.openOnce(ctx, method, path, body)
	})
}

func (t *transport) openOnce(ctx context.Context, method, path string, body any) (*http.Response, error) {
	req, err := t.request(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	wctx, answered, cancel := t.watched(ctx)
	res, err := t.do(req.WithContext(context.WithValue(wctx, callKey{}, wctx)))
	answered()
	if err != nil {
		defer cancel()
		return nil, callError(wctx, err)
	}
	res.Body = watchedBody{res.Body, cancel}
	if res.StatusCode/100 != 2 {
		defer res.Body.Close()
		return nil, readError(res)
	}
	if err := checkAnswer(path, res.Header); err != nil {
		_ = res.Body.Close()
		return nil, err
	}
	return res, nil
}

func (t *transport) do(req *http.Request) (*http.Response, error) {
	res, err := t.http.Do(req)
	if err != nil && req.Method == http.MethodGet && req.Context().Err() == nil && !errors.As(err, new(*Error)) {
		// Whoever was asked has ended meanwhile; Dial finds the next one, and to ask again does no harm.
		res, err = t.http.Do(req)
	}
	return res, err
}

// callError turns a transport error into an *Error, keeping one that dialling returned.
func callError(ctx context.Context, err error) error {
	var e *Error
	if errors.As(err, &e) || errors.As(context.Cause(ctx), &e) {
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

package image

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"berth/backend"
	"berth/backend/api"
)

// partState says of what a partial file is a part.
type partState struct {
	URL       string `json:"url"`
	Validator string `json:"validator"` // for If-Range: a strong ETag or Last-Modified; empty: it can't be resumed
	Total     int64  `json:"total"`
}

// fatal is an error that a second attempt would meet again.
type fatal struct{ err error }

func (f fatal) Error() string { return f.err.Error() }
func (f fatal) Unwrap() error { return f.err }

var errIdle = errors.New("the transfer stands still")

func wrapFetch(err error, format string, a ...any) error {
	what := fmt.Sprintf(format, a...)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", what, err)
	}
	var known *api.Error
	if errors.As(err, &known) {
		e := api.Errorf(known.Code, "%s: %w", what, err)
		e.Hint = known.Hint
		return e
	}
	return api.Errorf(api.CodeUnreachable, "%s: %w", what, err).
		WithHint("is the network there, and does it need a proxy (HTTPS_PROXY)? What was fetched is kept: a second try goes on there")
}

func (c Cache) client() *http.Client {
	if c.Client != nil {
		return c.Client
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
			TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:   15 * time.Second,
			ResponseHeaderTimeout: time.Minute,
			ForceAttemptHTTP2:     true,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) >= 10 {
				return fatal{errors.New("it redirects in a circle")}
			}
			if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
				return fatal{fmt.Errorf("it redirects to %s, which is not encrypted", req.URL.Redacted())}
			}
			return nil
		},
	}
}

// retry repeats an attempt that failed for a passing reason, with growing pauses. do reports whether it
// got further, which starts the count anew; say, if not nil, is told what is waited for.
func (c Cache) retry(ctx context.Context, say func(what string), do func() (further bool, err error)) error {
	tries, pause := c.Tries, c.Pause
	if tries <= 0 {
		tries = 5
	}
	if pause <= 0 {
		pause = time.Second
	}
	for n, wait := 1, pause; ; n, wait = n+1, min(wait*2, 30*time.Second) {
		further, err := do()
		var f fatal
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &f):
			return f.err
		case further:
			n, wait = 0, pause
		case n >= tries:
			return fmt.Errorf("%w (given up after %d attempts)", err, n)
		}
		if say != nil {
			say(fmt.Sprintf("%s; attempt %d of %d in %v", lastCause(err), n+1, tries, wait))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// lastCause is the innermost reason of an error: "connection refused", without the address that stands elsewhere.
func lastCause(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// status turns an answer that is no success into an error.
func status(res *http.Response) error {
	err := fmt.Errorf("the server answered %s", res.Status)
	switch {
	case res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusGone:
		return fatal{api.Errorf(api.CodeFailed, "%w", err).
			WithHint("the vendor may have renamed or withdrawn the image: correct its URL in your images.toml")}
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden ||
		res.StatusCode == http.StatusProxyAuthRequired:
		return fatal{api.Errorf(api.CodeAuth, "%w", err)}
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusRequestTimeout ||
		res.StatusCode >= 500:
		return err
	}
	return fatal{err}
}

// watched is a body whose reads end after a time without bytes.
type watched struct {
	io.ReadCloser
	timer *time.Timer
	idle  time.Duration
}

func (w watched) Read(b []byte) (int, error) {
	w.timer.Reset(w.idle)
	return w.ReadCloser.Read(b)
}

// get sends a request; the answer's body ends with errIdle when it stands still. end must be called.
func (c Cache) get(ctx context.Context, url string,
	header map[string]string) (res *http.Response, cause func(error) error, end func(), err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	idle := c.Idle
	if idle <= 0 {
		idle = time.Minute
	}
	timer := time.AfterFunc(idle, func() { cancel(errIdle) })
	cause = func(err error) error {
		if err != nil && errors.Is(context.Cause(ctx), errIdle) {
			return fmt.Errorf("%w for %s", errIdle, idle)
		}
		return err
	}
	end = func() { timer.Stop(); cancel(nil) }
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		end()
		return nil, nil, nil, fatal{err}
	}
	req.Header.Set("Accept-Encoding", "identity")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	if res, err = c.client().Do(req); err != nil {
		end()
		return nil, nil, nil, cause(err)
	}
	res.Body = watched{res.Body, timer, idle}
	stop := end
	return res, cause, func() { _ = res.Body.Close(); stop() }, nil
}

func (c Cache) getSmall(ctx context.Context, url string) ([]byte, error) {
	res, cause, end, err := c.get(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	defer end()
	if res.StatusCode != http.StatusOK {
		return nil, status(res)
	}
	const limit = 4 << 20
	b, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err == nil && len(b) > limit {
		return nil, fatal{fmt.Errorf("it is larger than %d bytes", limit)}
	}
	return b, cause(err)
}

// download brings the whole file to part, going on with what is there.
func (c Cache) download(ctx context.Context, e Entry, part string, say func(backend.Progress)) error {
	f, err := os.OpenFile(part, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return api.Errorf(api.CodeFailed, "keeping the image %s: %w", e.Name, err)
	}
	defer f.Close()
	again := func(what string) {
		if say != nil {
			say(backend.Progress{What: "fetching " + e.Name + ": " + what})
		}
	}
	err = c.retry(ctx, again, func() (bool, error) { return c.attempt(ctx, e, f, part+".json", say) })
	if err != nil {
		return wrapFetch(err, "fetching the image %s from %s", e.Name, e.URL)
	}
	if err := f.Sync(); err != nil {
		return api.Errorf(api.CodeFailed, "keeping the image %s: %w", e.Name, err)
	}
	return nil
}

// attempt makes one request for what is missing. further reports whether it brought a good deal.
func (c Cache) attempt(ctx context.Context, e Entry, f *os.File, stateFile string,
	say func(backend.Progress)) (further bool, err error) {
	var st partState
	if b, err := os.ReadFile(stateFile); err != nil || json.Unmarshal(b, &st) != nil || st.URL != e.URL {
		st = partState{}
	}
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, fatal{err}
	}
	if st.Validator == "" {
		have = 0
	} else if st.Total > 0 && have == st.Total {
		return true, nil
	}
	header := map[string]string{}
	if have > 0 {
		header["Range"] = "bytes=" + strconv.FormatInt(have, 10) + "-"
		header["If-Range"] = st.Validator
	}
	res, cause, end, err := c.get(ctx, e.URL, header)
	if err != nil {
		return false, err
	}
	defer end()
	switch res.StatusCode {
	case http.StatusOK: // no ranges, or the file is another by now
		have, st = 0, partState{URL: e.URL, Validator: validator(res.Header), Total: max(res.ContentLength, 0)}
	case http.StatusPartialContent:
		from, total, ok := contentRange(res.Header.Get("Content-Range"))
		if !ok || from != have {
			return false, errors.Join(fmt.Errorf("the server sent the part %q instead of what follows byte %d",
				res.Header.Get("Content-Range"), have), f.Truncate(0), removeIfThere(stateFile))
		}
		st.Total = total
	case http.StatusRequestedRangeNotSatisfiable: // we have more than there is
		return false, errors.Join(errors.New("the file became shorter"), f.Truncate(0), removeIfThere(stateFile))
	default:
		return false, status(res)
	}
	if st.Total > 0 {
		if err := c.roomFor(e, st.Total-have); err != nil {
			return false, fatal{err}
		}
	}
	// What lies behind is of another file.
	if err := f.Truncate(have); err != nil {
		return false, fatal{err}
	}
	if _, err := f.Seek(have, io.SeekStart); err != nil {
		return false, fatal{err}
	}
	b, _ := json.Marshal(st)
	if err := renameio.WriteFile(stateFile, b, 0o644); err != nil {
		return false, fatal{err}
	}
	w := &progress{ctx: ctx, say: say, p: backend.Progress{What: "fetching " + e.Name, Done: have, Total: st.Total}}
	n, err := io.CopyBuffer(io.MultiWriter(writeErr{f}, w), struct{ io.Reader }{res.Body}, make([]byte, 256<<10))
	if err == nil && st.Total > 0 && have+n != st.Total {
		err = io.ErrUnexpectedEOF
	}
	return n >= 1<<20, cause(err)
}

// writeErr marks the errors of our own disk, which no second attempt mends.
type writeErr struct{ w io.Writer }

func (w writeErr) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	if err != nil {
		err = fatal{api.Errorf(api.CodeFailed, "%w", err).WithHint("make room there; what was fetched is kept")}
	}
	return n, err
}

// validator is what tells later whether the file is still the same; a weak ETag does not.
func validator(h http.Header) string {
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) {
		return tag
	}
	return h.Get("Last-Modified")
}

// contentRange reads "bytes 5-9/10"; an unknown total is 0.
func contentRange(s string) (from, total int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	span, size, ok2 := strings.Cut(s, "/")
	a, b, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, false
	}
	from, err := strconv.ParseInt(a, 10, 64)
	to, err2 := strconv.ParseInt(b, 10, 64)
	if size != "*" {
		var err3 error
		if total, err3 = strconv.ParseInt(size, 10, 64); err3 != nil || to >= total {
			return 0, 0, false
		}
	}
	return from, total, err == nil && err2 == nil && from >= 0 && to >= from
}

// progress says at most ten times a second how far a copy is, and ends it with its context.
type progress struct {
	ctx  context.Context
	say  func(backend.Progress)
	p    backend.Progress
	last time.Time
}

func (w *progress) Write(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	w.p.Done += int64(len(b))
	if now := time.Now(); w.p.Done == w.p.Total || now.Sub(w.last) >= 100*time.Millisecond {
		w.last = now
		w.say(w.p)
	}
	return len(b), nil
}

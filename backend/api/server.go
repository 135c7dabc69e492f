package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"berth/backend/transport/wire"
)

// maxBody bounds the JSON body of a request, in bytes.
const maxBody = 4 << 20

// Route is one entry of a service: what is served, and what its description says. Request and
// Response are zero values of the documents' types (nil: none); they become the OpenAPI schemas.
type Route struct {
	Method, Path string
	Summary      string
	Needs        []Action // what the caller must be allowed to do: on the instance (OnInstance), or the workspace
	Query        []string // names of query parameters
	Request      any
	Response     any
	Stream       string // "ndjson" or "frames" where the answer is a stream of Response
	Handler      http.HandlerFunc
}

// Mux returns a handler of the routes, each behind the gate; any path of none answers with an error document. A caller
// whose capability is too far from this build's is told so; see capability.go.
func Mux(routes []Route, gate Gate) http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.HandleFunc(r.Method+" "+r.Path, gate.through(r))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		WriteError(w, Errorf(CodeNotFound, "there is no %s %s", r.Method, r.URL.Path).
			WithHint("berth api prints what there is"))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sayVersion(w.Header())
		if err := checkCaller(r); err != nil {
			WriteError(w, err)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// WriteJSON answers with a document.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}

// WriteError answers with an error document and the status of its code.
func WriteError(w http.ResponseWriter, err error) {
	e := AsError(err)
	if errors.Is(err, context.Canceled) {
		e = &Error{Code: CodeCancelled, Message: err.Error()}
	}
	WriteJSON(w, e.Code.HTTPStatus(), ErrorDocument{e})
}

// WriteRefusal writes err as the answer to a request on a connection that no server serves, and which ends with it.
func WriteRefusal(w io.Writer, err error) error {
	e := AsError(err)
	doc, merr := json.Marshal(ErrorDocument{e})
	if merr != nil {
		return merr
	}
	code := e.Code.HTTPStatus()
	_, werr := fmt.Fprintf(w, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"+
		"Connection: close\r\n\r\n%s", code, http.StatusText(code), len(doc), doc)
	return werr
}

// ReadJSON decodes a request's body strictly; an empty body leaves v as it is.
func ReadJSON(r *http.Request, v any) error {
	dec := json.NewDecoder(io.LimitReader(r.Body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil && !errors.Is(err, io.EOF) {
		return Errorf(CodeUsage, "the request's body is not what %s %s takes: %w", r.Method, r.URL.Path, err)
	}
	return nil
}

// ReadCaller decodes the caller header; a request without one has a zero document.
func ReadCaller(r *http.Request) (CallerDocument, error) {
	var d CallerDocument
	h := r.Header.Get(CallerHeader)
	if h == "" {
		return d, nil
	}
	b, err := base64.StdEncoding.DecodeString(h)
	if err == nil {
		err = json.Unmarshal(b, &d)
	}
	if err != nil {
		return d, Errorf(CodeUsage, "the %s header can't be read: %w", CallerHeader, err)
	}
	return d, nil
}

// Upgrade turns a request into a stream. On failure it has answered.
func Upgrade(w http.ResponseWriter, r *http.Request) (*Stream, error) {
	if r.Header.Get("Upgrade") != StreamProtocol {
		err := Errorf(CodeUsage, "%s is a byte stream: ask for Upgrade: %s", r.URL.Path, StreamProtocol)
		w.Header().Set("Upgrade", StreamProtocol)
		WriteError(w, err)
		return nil, err
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		err := fmt.Errorf("taking over the connection: %w", err)
		WriteError(w, err)
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s\r\n",
		StreamProtocol, versionLines()); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return NewStream(conn, rw.Reader), nil
}

// maxRequest bounds the request of a stream, in bytes: more than the arguments that Linux takes (6 MiB) in base64.
const maxRequest = 16 << 20

// ReadRequest reads the request that a stream begins with into v. No frame of it may take longer than limit, if that
// is not 0.
func (s *Stream) ReadRequest(v any, limit time.Duration) error {
	if limit > 0 {
		defer func() { _ = s.Conn.SetReadDeadline(time.Time{}) }()
	}
	var parts []byte
	k, p, err := wire.RequestPart, []byte(nil), error(nil)
	for k == wire.RequestPart {
		if limit > 0 {
			_ = s.Conn.SetReadDeadline(time.Now().Add(limit))
		}
		if k, p, err = s.Reader.Next(); err != nil {
			return err
		}
		if k == wire.RequestPart {
			if parts = append(parts, p...); len(parts) > maxRequest {
				return Errorf(CodeUsage, "the stream's request is longer than %d bytes", maxRequest)
			}
		}
	}
	if len(parts) > 0 {
		p = append(parts, p...)
	}
	if k != wire.Request {
		return Errorf(CodeUsage, "the stream began with frame %q, want a request", byte(k))
	}
	if err := json.Unmarshal(p, v); err != nil {
		return Errorf(CodeUsage, "the stream's request can't be read: %w", err)
	}
	return nil
}

// NDJSON writes a stream of documents, each flushed.
type NDJSON struct {
	enc   *json.Encoder
	flush func() error
}

// NewNDJSON starts an NDJSON answer.
func NewNDJSON(w http.ResponseWriter) *NDJSON {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	n := &NDJSON{enc: json.NewEncoder(w), flush: http.NewResponseController(w).Flush}
	_ = n.flush()
	return n
}

// Write sends one document.
func (n *NDJSON) Write(v any) error {
	if err := n.enc.Encode(v); err != nil {
		return err
	}
	return n.flush()
}

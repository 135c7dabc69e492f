package api

import (
	"errors"
	"fmt"
	"net/http"
)

// Code classes an error; it decides the exit code of a verb and the HTTP status of an answer.
type Code string

// The codes. Their exit codes are those of the command line's contract.
const (
	CodeFailed      Code = "failed"      // it failed; exit 1
	CodeUsage       Code = "usage"       // the call is wrong; exit 2
	CodeUnsupported Code = "unsupported" // the backend can't do this; exit 2
	CodeNotFound    Code = "not_found"   // no such instance, terminal, …; exit 3
	CodeGone        Code = "gone"        // it was there, and is forgotten: it is not done again; exit 3
	CodeForbidden   Code = "forbidden"   // not allowed; exit 4
	CodeRefused     Code = "refused"     // refused to protect something; exit 5
	CodeUnreachable Code = "unreachable" // backend or instance can't be reached; exit 6
	CodeAuth        Code = "auth"        // signing in was refused; exit 6
	CodeNoAnswer    Code = "no_answer"   // a question found nobody to answer it; exit 6
	CodeConflict    Code = "conflict"    // something else is under way, or the name is taken; exit 1
	CodeQuota       Code = "quota"       // exit 1
	CodeCapacity    Code = "capacity"    // the provider has no machine of this size now; exit 1
	CodeCancelled   Code = "cancelled"   // exit 1
	CodeMoved       Code = "moved"       // another daemon serves now; exit 6
	CodeStore       Code = "store"       // the store can't be read or written; exit 1
	CodeNoEngine    Code = "no_engine"   // the program that runs containers is to be put on the instance first; exit 1
	CodeVersion     Code = "version"     // the other side is of a version too far from this one; exit 1
)

// Error is the error document. Message says what was tried, on what, and why it failed; Hint what
// to do next.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	cause   error
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause, if the error was made in this process.
func (e *Error) Unwrap() error { return e.cause }

// Is lets errors.Is compare by code: errors.Is(err, &Error{Code: CodeNotFound}).
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Message == "" && t.Code == e.Code
}

// Errorf makes an Error with a message; %w keeps a cause.
func Errorf(code Code, format string, a ...any) *Error {
	err := fmt.Errorf(format, a...)
	return &Error{Code: code, Message: err.Error(), cause: errors.Unwrap(err)}
}

// WithHint returns a copy of e with a hint.
func (e *Error) WithHint(format string, a ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, a...)
	return &c
}

// AsError turns any error into an Error: itself if it is or wraps one (keeping the outer text),
// else one with CodeFailed. It returns nil for nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		if e.Message == err.Error() {
			return e
		}
		return &Error{Code: e.Code, Message: err.Error(), Hint: e.Hint, cause: err}
	}
	return &Error{Code: CodeFailed, Message: err.Error(), cause: err}
}

// ExitCode is the exit code of a verb that ended with err.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	switch AsError(err).Code {
	case CodeUsage, CodeUnsupported:
		return 2
	case CodeNotFound, CodeGone:
		return 3
	case CodeForbidden:
		return 4
	case CodeRefused:
		return 5
	case CodeUnreachable, CodeAuth, CodeNoAnswer, CodeMoved:
		return 6
	}
	return 1
}

// HTTPStatus is the status of an answer that carries an error of this code.
func (c Code) HTTPStatus() int {
	switch c {
	case CodeUsage:
		return http.StatusBadRequest
	case CodeNotFound:
		return http.StatusNotFound
	case CodeGone:
		return http.StatusGone
	case CodeForbidden:
		return http.StatusForbidden
	case CodeRefused:
		return http.StatusPreconditionFailed
	case CodeUnreachable, CodeAuth, CodeNoAnswer:
		return http.StatusBadGateway
	case CodeConflict:
		return http.StatusConflict
	case CodeMoved:
		return http.StatusServiceUnavailable
	case CodeUnsupported, CodeVersion:
		return http.StatusNotImplemented
	}
	return http.StatusInternalServerError
}

// ErrorDocument is how an Error stands on the wire and in --json output.
type ErrorDocument struct {
	Error *Error `json:"error"`
}

package api

import (
	"encoding/json"
	"slices"
	"unicode/utf8"

	"berth/backend/transport/wire"
)

// ExecBytes is how Argv, Dir and Env of an ExecRequest travel where text can't carry them: as base64, where one of them
// is no UTF-8 (JSON would put U+FFFD for each bad byte), or where the request would be too long for one frame. The
// three themselves are empty then, which every build refuses that knows nothing of this; see ExactArguments.
type ExecBytes struct {
	Argv [][]byte `json:"argv"`
	Dir  []byte   `json:"dir,omitempty"`
	Env  [][]byte `json:"env,omitempty"`
}

// carried returns q as it is sent, and what a service must have to understand it, or nil.
func (q ExecRequest) carried() (ExecRequest, *Feature) {
	if q.isText() {
		return q, nil
	}
	q.Bytes = &ExecBytes{Argv: allBytes(q.Argv), Dir: []byte(q.Dir), Env: allBytes(q.Env)}
	q.Argv, q.Dir, q.Env = nil, "", nil
	return q, &ExactArguments
}

// isText reports whether every build can take q.
func (q *ExecRequest) isText() bool {
	n := 0
	for _, s := range slices.Concat(q.Argv, q.Env, []string{q.Dir}) {
		if !utf8.ValidString(s) {
			return false
		}
		n += len(s) + len(`"",`)
	}
	if n < wire.MaxPayload/8 { // JSON makes six bytes of one at most
		return true
	}
	p, err := json.Marshal((*execDocument)(q))
	return err == nil && len(p) <= wire.MaxPayload
}

// execDocument is an ExecRequest as it stands on the wire.
type execDocument ExecRequest

// UnmarshalJSON implements json.Unmarshaler: Argv, Dir and Env are what was meant, however they came.
func (q *ExecRequest) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, (*execDocument)(q)); err != nil || q.Bytes == nil {
		return err
	}
	q.Argv, q.Dir, q.Env = allStrings(q.Bytes.Argv), string(q.Bytes.Dir), allStrings(q.Bytes.Env)
	q.Bytes = nil
	return nil
}

func allBytes(list []string) [][]byte {
	out := make([][]byte, len(list))
	for i, s := range list {
		out[i] = []byte(s)
	}
	return out
}

func allStrings(list [][]byte) []string {
	out := make([]string, len(list))
	for i, b := range list {
		out[i] = string(b)
	}
	return out
}

// Length is how many bytes a system counts for the command: its arguments and variables, each with its end.
func (q *ExecRequest) Length() int {
	n := len(q.Dir)
	for _, list := range [][]string{q.Argv, q.Env} {
		for _, s := range list {
			n += len(s) + 1
		}
	}
	return n
}

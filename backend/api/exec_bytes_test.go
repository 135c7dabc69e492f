package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"berth/backend/transport/wire"
)

// olderExecRequest is the document as the builds of capabilities 1 and 2 know it.
type olderExecRequest struct {
	Argv []string `json:"argv"`
	Dir  string   `json:"dir,omitempty"`
	Env  []string `json:"env,omitempty"`
	TTY  bool     `json:"tty,omitempty"`
}

// TestExecRequestsArriveAsTheyWere sends requests of any bytes. What an older build takes at all, it takes as it was.
func TestExecRequestsArriveAsTheyWere(t *testing.T) {
	value := rapid.OneOf(rapid.String(),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	rapid.Check(t, func(t *rapid.T) {
		q := ExecRequest{Argv: rapid.SliceOfN(value, 1, 4).Draw(t, "argv"), Dir: value.Draw(t, "dir"),
			Env: rapid.SliceOfN(value, 1, 4).Draw(t, "env"), TTY: rapid.Bool().Draw(t, "tty")}
		sent, needs := q.carried()
		b, err := json.Marshal(sent)
		require.NoError(t, err)
		var got ExecRequest
		require.NoError(t, json.Unmarshal(b, &got))
		require.Equal(t, q, got)
		var older olderExecRequest
		require.NoError(t, json.Unmarshal(b, &older))
		text := !slices.ContainsFunc(slices.Concat(q.Argv, q.Env, []string{q.Dir}),
			func(s string) bool { return !utf8.ValidString(s) })
		if needs == nil {
			require.Equal(t, olderExecRequest{q.Argv, q.Dir, q.Env, q.TTY}, older)
		} else {
			require.False(t, text, "text of this length goes to every build")
			require.Empty(t, older.Argv, "an older build runs nothing")
		}
	})
}

func TestLongExecRequestsGoInParts(t *testing.T) {
	var got ExecRequest
	c := service(t, func(s *Stream, q ExecRequest) {
		got = q
		_ = s.Writer.WriteJSON(wire.Exit, wire.ExitStatus{})
	})
	for _, n := range []int{1000, wire.MaxPayload/6 - 100, wire.MaxPayload - 100, wire.MaxPayload, 2_000_000} {
		for _, fill := range []string{"a", "\x01", "\xff"} {
			q := ExecRequest{Argv: []string{"x", strings.Repeat(fill, n)}}
			_, needs := q.carried()
			require.Equal(t, fill == "\xff" || n >= wire.MaxPayload || fill == "\x01" && n > wire.MaxPayload/6, needs != nil,
				"%d times %q", n, fill)
			s, err := c.OpenExec(t.Context(), q)
			require.NoError(t, err)
			_, err = s.Run(t.Context(), StreamIO{})
			require.NoError(t, err)
			require.True(t, q.Argv[1] == got.Argv[1], "%d times %q", n, fill)
		}
	}
	s, err := c.OpenExec(t.Context(), ExecRequest{Argv: []string{strings.Repeat("\xff", maxRequest)}})
	if err == nil {
		_, err = s.Run(t.Context(), StreamIO{})
	}
	require.Error(t, err)
}

// TestOlderServicesAreNotAskedForBytes answers as services of before would, which refuse what they can't read.
func TestOlderServicesAreNotAskedForBytes(t *testing.T) {
	for _, says := range []string{"", "1", "2"} {
		inner := routes()
		client := &AgentClient{Dial: answers(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				inner.ServeHTTP(w, r)
				return
			}
			defer conn.Close()
			line := ""
			if says != "" {
				line = CapabilityHeader + ": " + says + "\r\n" + VersionHeader + ": 0.1.9\r\n"
			}
			fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s\r\n",
				StreamProtocol, line)
			s := NewStream(conn, rw.Reader)
			k, p, err := s.Reader.Next()
			var q olderExecRequest
			if err != nil || k != wire.Request || json.Unmarshal(p, &q) != nil || len(q.Argv) == 0 {
				s.Fail(Errorf(CodeUsage, "no command was given"))
				return
			}
			_ = s.Writer.WriteJSON(wire.Exit, wire.ExitStatus{Code: 7})
		}))}
		t.Cleanup(client.Close)
		s, err := client.OpenExec(t.Context(), ExecRequest{Argv: []string{"ä"}})
		require.NoError(t, err)
		x, err := s.Run(t.Context(), StreamIO{})
		require.NoError(t, err)
		require.Equal(t, 7, x.Code)
		for _, arg := range []string{"\xff", strings.Repeat("a", 2*wire.MaxPayload)} {
			_, err = client.OpenExec(t.Context(), ExecRequest{Argv: []string{arg}})
			require.ErrorIs(t, err, &Error{Code: CodeVersion})
			require.ErrorContains(t, err, "no UTF-8")
			require.NotEmpty(t, AsError(err).Hint)
		}
	}
}

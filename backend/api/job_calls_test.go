package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAnAgentWithoutAQueue: an older agent knows none of the routes, and its client says so; what is not there on one
// that knows them is something else.
func TestAnAgentWithoutAQueue(t *testing.T) {
	older := JobsClient{&AgentClient{Dial: answers(t, Mux(nil, nil))}}
	calls := map[string]func(c JobsClient) error{
		"submit": func(c JobsClient) error {
			_, err := c.Submit(t.Context(), JobRequest{Argv: []string{"true"}})
			return err
		},
		"list": func(c JobsClient) error { _, err := c.List(t.Context(), JobQuery{}); return err },
		"show": func(c JobsClient) error { _, err := c.Get(t.Context(), "12"); return err },
		"wait": func(c JobsClient) error { _, err := c.Wait(t.Context(), "12", -1); return err },
		"tell": func(c JobsClient) error { _, err := c.Do(t.Context(), "12", "cancel"); return err },
		"logs": func(c JobsClient) error {
			return c.Log(t.Context(), "12", LogOptions{}, func(JobLogPart, []byte) error { return nil })
		},
	}
	for name, call := range calls {
		err := call(older)
		require.ErrorIs(t, err, &Error{Code: CodeUnsupported}, name)
		require.Contains(t, err.Error(), "older than this Berth", name)
	}
	newer := JobsClient{&AgentClient{Dial: answers(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		WriteError(w, Errorf(CodeNotFound, "there is no job 12 on this instance"))
	}))}}
	for name, call := range calls {
		require.ErrorIs(t, call(newer), &Error{Code: CodeNotFound}, name)
	}
}

// TestTheFirstJobWithAnImage has the workspace bring what runs containers, once; an agent that is asked itself can't.
func TestTheFirstJobWithAnImage(t *testing.T) {
	brought, asked := 0, 0
	mux := http.NewServeMux()
	submit := func(w http.ResponseWriter, _ *http.Request) {
		asked++
		if brought == 0 {
			WriteError(w, Errorf(CodeNoEngine, "it is not here"))
			return
		}
		WriteJSON(w, http.StatusOK, Job{UUID: "u"})
	}
	mux.HandleFunc("POST /v1/jobs", submit)
	mux.HandleFunc("POST /v1/instances/vision/agent/v1/jobs", submit)
	mux.HandleFunc("POST /v1/instances/vision/agent/v1/engine", func(w http.ResponseWriter, r *http.Request) {
		var q EngineRequest
		if ReadJSON(r, &q) == nil && q.Program == nil {
			brought++
		}
		WriteJSON(w, http.StatusOK, EngineAnswer{Protocol: 1})
	})
	dial := answers(t, mux)
	q := JobRequest{Argv: []string{"true"}, Image: "x"}
	_, err := (&AgentClient{Dial: dial}).Jobs().Submit(t.Context(), q)
	require.ErrorIs(t, err, &Error{Code: CodeNoEngine})
	ws := &WorkspaceClient{Dial: dial}
	for range 2 {
		job, err := ws.Agent("vision").Jobs().Submit(t.Context(), q)
		require.NoError(t, err)
		require.Equal(t, "u", job.UUID)
	}
	require.Equal(t, []int{1, 4}, []int{brought, asked})
}

// TestWhatARequestCarries: arguments, variables and folders arrive as they are, whatever their bytes; other text that
// would arrive as something else is refused.
func TestWhatARequestCarries(t *testing.T) {
	for _, q := range []JobRequest{
		{Argv: []string{"a\xff", "b\n", "\x1b[31m", ""}, Env: []string{"K=\xfe"}, Workdir: "/\xfd"},
		{Argv: []string{"é"}, Env: []string{"K=v"}, Workdir: "/w", Params: []string{"k=é"}},
		{Argv: []string{"a"}, Workdir: "/\xff"},
	} {
		require.NoError(t, q.readable())
		b, err := json.Marshal(q.carried())
		require.NoError(t, err)
		var got JobRequest
		require.NoError(t, json.Unmarshal(b, &got))
		got = got.Meant()
		require.Equal(t, q.Argv, got.Argv)
		require.Equal(t, q.Workdir, got.Workdir)
		require.ElementsMatch(t, q.Env, got.Env)
	}
	nobody := JobsClient{&AgentClient{}}
	for _, q := range []JobRequest{{Params: []string{"k=1", "k=\xff"}}, {ParamFile: "k\n\xe9"}, {Name: "\xff"},
		{Group: "\xff"}, {Conda: "\xff"}, {Venv: "\xff"}} {
		_, err := nobody.Submit(t.Context(), q)
		require.ErrorIs(t, err, &Error{Code: CodeUsage}, "%q", q)
	}
}

// FuzzLogPart reads what an agent may send: no part is larger than it may be, and one that was written is read.
func FuzzLogPart(f *testing.F) {
	f.Add([]byte("{\"at\":3,\"bytes\":2,\"run\":1}\nab{\"end\":true,\"run\":1}\n"))
	f.Add([]byte("{\"bytes\":-1}\n"))
	f.Add([]byte("{\"bytes\":9999999999}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(b), 64<<10)
		var again []byte
		for read := 0; ; {
			p, piece, err := readLogPart(r)
			if err != nil {
				break
			}
			if len(piece) != p.Bytes || p.Bytes > maxLogPart || p.At < 0 {
				t.Fatalf("a part of %d bytes at %d has %d", p.Bytes, p.At, len(piece))
			}
			if read += 1 + len(piece); read > len(b) {
				t.Fatalf("%d bytes were read of %d", read, len(b))
			}
			line, err := json.Marshal(p)
			require.NoError(t, err)
			again = append(append(append(again, line...), '\n'), piece...)
			q, same, err := readLogPart(bufio.NewReaderSize(bytes.NewReader(again[len(again)-len(line)-1-len(piece):]), 64<<10))
			require.NoError(t, err)
			require.Equal(t, p, q)
			require.Equal(t, piece, same)
		}
	})
}

package child

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/gpu"
	"berth/gpu/nvml"
)

// counting is a source that counts its readings.
type counting struct {
	n, failAt int
	closed    *bool
}

func (c *counting) Name() string { return "counting" }

func (c *counting) Read(context.Context) (gpu.Reading, error) {
	if c.n++; c.n == c.failAt {
		return gpu.Reading{}, errors.New("the driver is gone")
	}
	return gpu.Reading{At: time.Now(), Source: "counting", GPUs: []gpu.GPU{{Index: c.n}}}, nil
}

func (c *counting) Close() error { *c.closed = true; return nil }

func source(name string, err error, failAt int, closed *bool) Source {
	return Source{Name: name, Built: true, Open: func() (gpu.Source, error) {
		if err != nil {
			return nil, err
		}
		return &counting{failAt: failAt, closed: closed}, nil
	}}
}

func lines(t *testing.T, b *bytes.Buffer) (out []gpu.Reading) {
	for dec := json.NewDecoder(b); dec.More(); {
		var r gpu.Reading
		require.NoError(t, dec.Decode(&r))
		out = append(out, r)
	}
	return out
}

func TestOnce(t *testing.T) {
	var out bytes.Buffer
	var closed bool
	require.Equal(t, 0, Main([]string{"--once"}, strings.NewReader(""), &out, io.Discard, source("a", nil, 0, &closed)))
	require.Len(t, lines(t, &out), 1)
}

func TestUsage(t *testing.T) {
	var said bytes.Buffer
	require.Equal(t, 2, Main([]string{"--what"}, strings.NewReader(""), io.Discard, &said))
	require.Contains(t, said.String(), "usage")
}

// A failure is a reading with the reason, and the end.
func TestFailure(t *testing.T) {
	var out bytes.Buffer
	var closed bool
	in, w := io.Pipe()
	defer w.Close()
	go fmt.Fprintln(w, "every 100ms")
	require.Equal(t, ExitFailed, Main(nil, in, &out, io.Discard, source("a", nil, 3, &closed)))
	got := lines(t, &out)
	require.Len(t, got, 3)
	require.Equal(t, "the driver is gone", got[2].Error)
	require.NotNil(t, got[2].GPUs)
}

// The end of the input is the end, and the source is closed.
func TestEndOfInput(t *testing.T) {
	var closed bool
	require.Equal(t, 0, Main(nil, strings.NewReader("every 1h\nnonsense\n"), io.Discard, io.Discard,
		source("a", nil, 0, &closed)))
	require.True(t, closed)
}

func TestWhichSource(t *testing.T) {
	var closed bool
	noLibrary := fmt.Errorf("%w: not there", nvml.ErrNoLibrary)
	good := source("good", nil, 0, &closed)
	for name, c := range map[string]struct {
		want    string
		sources []Source
		err     string
	}{
		"the first":                       {"", []Source{good, source("b", errors.New("no"), 0, nil)}, ""},
		"the next, without a library":     {"", []Source{source("a", noLibrary, 0, nil), good}, ""},
		"none after what the driver said": {"", []Source{source("a", nvml.ErrMismatch, 0, nil), good}, "mismatch"},
		"one that is not built":           {"", []Source{{Name: "a"}, good}, ""},
		"the library rather than the tool": {"", []Source{source("a", noLibrary, 0, nil), source("b", gpu.ErrNoTool, 0, nil)},
			"can't be loaded"},
		"a wish":                   {"good", []Source{source("a", errors.New("no"), 0, nil), good}, ""},
		"a wish that is not built": {"a", []Source{{Name: "a"}, good}, "built without it"},
		"an unknown wish":          {"x", []Source{good}, "it can be good"},
		"nothing":                  {"", nil, "without any way"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(SourceVariable, c.want)
			s, err := open(c.sources)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, "counting", s.Name())
		})
	}
}

func FuzzParseCommand(f *testing.F) {
	f.Add("every 1s")
	f.Add("every -5h")
	f.Fuzz(func(t *testing.T, line string) {
		if d, err := parseCommand(line); err == nil && (d < MinInterval || d > MaxInterval) {
			t.Fatalf("%q is %v", line, d)
		}
	})
}

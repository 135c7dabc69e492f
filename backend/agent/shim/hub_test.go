package shim

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/base/ttymodes"
	"berth/backend/transport/wire"
)

func newTestHub(resized *[]wire.Size) *hub {
	return newHub(&Ring{}, wire.Size{Rows: 24, Cols: 80}, func(z wire.Size) { *resized = append(*resized, z) })
}

func TestASlowClientHoldsUpTheTerminalAndLosesNothing(t *testing.T) {
	var sizes []wire.Size
	h := newTestHub(&sizes)
	c, ok := h.attach(true, wire.Size{})
	require.True(t, ok)
	_, ok = h.attach(true, wire.Size{})
	require.False(t, ok, "somebody is attached")
	var want bytes.Buffer
	go func() {
		for i := range 1000 {
			line := []byte(strings.Repeat("x", i) + "\n")
			want.Write(line)
			h.output(line)
			if i == 500 {
				h.mu.Lock()
				if n := len(c.pending); n > 2*clientBuffer {
					t.Errorf("%d bytes wait for a client that does not read", n)
				}
				h.mu.Unlock()
			}
		}
		h.end(wire.ExitStatus{Code: 3})
	}()
	var got bytes.Buffer
	var spare []byte
	for {
		p, ok := h.next(c, spare)
		if !ok {
			break
		}
		got.Write(p)
		spare = p
	}
	require.Equal(t, want.String(), got.String())
	require.Equal(t, 3, h.ended().Code)
}

func TestAClientThatStallsIsLeftBehindAndGetsTheScreen(t *testing.T) {
	var sizes []wire.Size
	h := newTestHub(&sizes)
	h.stall = time.Millisecond
	c, _ := h.attach(false, wire.Size{})
	chunk := append(bytes.Repeat([]byte("y"), 1000), '\n')
	for range 1000 { // returns although nobody reads
		h.output(chunk)
	}
	h.output([]byte("last line\n"))
	p, ok := h.next(c, nil)
	require.True(t, ok)
	require.True(t, strings.HasPrefix(string(p), string((&ttymodes.Modes{}).Off())+fresh))
	require.True(t, strings.HasSuffix(string(p), "last line\n"))
	h.output([]byte("live\n"))
	p, ok = h.next(c, nil)
	require.True(t, ok)
	require.Equal(t, "live\n", string(p))
	h.detach(c)
	_, ok = h.next(c, nil)
	require.False(t, ok)
	require.False(t, h.info().DetachedAt.IsZero())
}

// TestAClientThatFellBehindIsBroughtToACleanPage whatever mode its terminal was left in.
func TestAClientThatFellBehindIsBroughtToACleanPage(t *testing.T) {
	var sizes []wire.Size
	h := newTestHub(&sizes)
	h.stall = time.Millisecond
	c, _ := h.attach(false, wire.Size{})
	h.output([]byte("\x1b[?1049h\x1b[?1000h\x1b[3;9r\x1b[?1049l\x1bPcut off"))
	_, ok := h.next(c, nil)
	require.True(t, ok)
	for range 100 {
		h.output(bytes.Repeat([]byte("y\n"), 4<<10))
	}
	h.output([]byte("\x1b[?1000l"))
	p, ok := h.next(c, nil)
	require.True(t, ok)
	page := strings.Index(string(p), fresh)
	for _, s := range []string{"\x1b\\", "\x1b[r", "\x1b[?1000l"} {
		at := strings.Index(string(p), s)
		require.True(t, at >= 0 && at < page, "%q comes before the clean page", s)
	}
}

func TestTheSizeIsThatOfWhoTypedLast(t *testing.T) {
	var sizes []wire.Size
	h := newTestHub(&sizes)
	a, b := wire.Size{Rows: 10, Cols: 20}, wire.Size{Rows: 30, Cols: 40}
	h.resize(a)
	h.resize(b)
	h.resize(wire.Size{})
	h.input(a)
	h.input(a)
	h.input(b)
	require.Equal(t, []wire.Size{a, b, a, b}, sizes)
}

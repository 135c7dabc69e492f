package shim

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"berth/backend/base/ttymodes"
	"berth/backend/transport/wire"
)

func TestRingKeepsTheTail(t *testing.T) {
	var r Ring
	r.Write([]byte("one\n"))
	require.Equal(t, "one\n", string(r.Snapshot()))
	var all bytes.Buffer
	for i := range 40000 {
		line := []byte(strings.Repeat("x", i%23) + "\n")
		all.Write(line)
		r.Write(line)
	}
	got := r.Snapshot()
	require.LessOrEqual(t, len(got), ringSize)
	require.Greater(t, len(got), ringSize-64)
	require.True(t, bytes.HasSuffix(all.Bytes(), got))
	require.Equal(t, byte('\n'), all.Bytes()[all.Len()-len(got)-1], "it begins with a whole line")

	r = Ring{}
	r.Write(append(bytes.Repeat([]byte("y"), 3*ringSize), "\nend"...))
	require.Equal(t, "end", string(r.Snapshot()))
}

// TestModesOutliveTheRing has a program switch modes on, and draw until the ring has forgotten that.
func TestModesOutliveTheRing(t *testing.T) {
	const on = "\x1b[?1049h\x1b[?1h\x1b[?25l\x1b[?1002;1006h\x1b[?2004h\x1b[?1004h\x1b=\x1b[>1u\x1b[>4;2m\x1b(0\x0e"
	draw := func(n int) (out []byte) {
		for i := range n {
			out = append(out, fmt.Sprintf("\x1b[%d;1H\x1b[3%dmrow %d é", i%24+1, i%8, i)...)
		}
		return out
	}
	for _, size := range []int{1, 100, 4096, ringSize - 1, ringSize, 3 * ringSize} {
		var r Ring
		whole := append([]byte(on), draw(60000)...)
		for p := whole; len(p) > 0; {
			n := min(size, len(p))
			r.Write(p[:n])
			p = p[n:]
			if size == 1 && len(whole)-len(p) > 2*ringSize {
				break // byte by byte it takes long
			}
		}
		got := r.Snapshot()
		i := bytes.IndexByte(got, 'H') + 1 // the clean page of the alternate screen
		for _, mode := range []string{"\x1b[?1049h", "\x1b[?1h", "\x1b[?25l", "\x1b[?1002h", "\x1b[?1006h", "\x1b[?2004h",
			"\x1b[?1004h", "\x1b=", "\x1b[>1u", "\x1b[>4;2m", "\x1b(0", "\x0e"} {
			require.True(t, bytes.Contains(got[:1024], []byte(mode)), "%q, written by %d bytes", mode, size)
		}
		var m ttymodes.Modes
		m.Scan(got)
		require.True(t, m.Alternate())
		require.Greater(t, len(got), ringSize/2, "a program that ends no line is shown all the same")
		require.True(t, utf8.Valid(got), "no character is cut")
		rest := got[i:]
		require.Regexp(t, `^[^a-z]*(row|\x1b\[[\d;?>]*[a-zA-Z])`, string(rest[:64]))
	}
	// What was switched off again is not switched on.
	var r Ring
	r.Write([]byte(on + "\x1b[?1049l\x1b[?1l\x1b[?25h\x1b[?1002;1006l\x1b[?2004l\x1b[?1004l\x1b>\x1b[<u\x1b[>4;0m\x1b(B\x0f"))
	for range 40000 {
		r.Write([]byte("a line\r\n"))
	}
	require.True(t, bytes.HasPrefix(r.Snapshot(), []byte("a line\r\n")))
}

// TestMarginsOfAnotherSizeAreForgotten has a program set margins, and the terminal resized by who attaches.
func TestMarginsOfAnotherSizeAreForgotten(t *testing.T) {
	var sizes []wire.Size
	h := newTestHub(&sizes)
	h.output([]byte("\x1b[?1049h\x1b[1;23rtext"))
	c, _ := h.attach(true, wire.Size{Rows: 40, Cols: 80})
	p, _ := h.next(c, nil)
	require.True(t, strings.HasSuffix(string(p), "\x1b[1;23rtext"+ttymodes.NoMargins), "%q", p)
	h.output([]byte("\x1b[1;39r"))
	h.detach(c)
	c, _ = h.attach(true, wire.Size{Rows: 40, Cols: 80})
	p, _ = h.next(c, nil)
	require.True(t, strings.HasSuffix(string(p), "\x1b[1;39r"), "those of this size stay")
}

func TestReplayAsksTheTerminalNothing(t *testing.T) {
	for in, want := range map[string]string{
		"a\x1b[31mred\x1b[0m":                        "a\x1b[31mred\x1b[0m",
		"a\x1b[cb\x1b[>0cc\x1b[=cd":                  "abcd",
		"\x1b[6nx\x1b[?6n\x1b[5n":                    "x",
		"\x1b]11;?\x07x\x1b]11;#fff\x07":             "x\x1b]11;#fff\x07",
		"\x1b]52;c;aGk=\x1b\\x":                      "x",
		"\x1bP$qm\x1b\\x\x1bP+q544e\x1b\\":           "x",
		"\x1b[?2026$px\x1b[!p":                       "x\x1b[!p",
		"\x1b[>qx\x1b[2 q":                           "x\x1b[2 q",
		"\x1b[18tx\x1b[22;0t":                        "x\x1b[22;0t",
		"\x05x\x1bZ":                                 "x",
		"\x1b[?ux\x1b[>1u":                           "x\x1b[>1u",
		"\x1b]0;title\x07x":                          "\x1b]0;title\x07x",
		"\x1bPjunk\x07text\x1b[0mx":                  "\x1b[0mx", // a bell ends no DCS
		"end\x1b[3":                                  "end",
		"\xc2\x9b6nx\x1b[\x056m":                     "6nx6m",
		"end\x1b":                                    "end",
		"\x1b]0;cut off \x1b[31mx":                   "\x1b[31mx",
		"äö\x1b[38;2;1;2;3m漢":                        "äö\x1b[38;2;1;2;3m漢",
		"\x1b[?1049h\x1b[?2004h\x1b[1;24r\x1b[>4;1m": "\x1b[?1049h\x1b[?2004h\x1b[1;24r\x1b[>4;1m",
	} {
		require.Equal(t, want, string(dropQueries([]byte(in))), "%q", in)
	}
}

func TestNestedQueriesCostNoMoreThanAFewPasses(t *testing.T) {
	n := 100 << 10
	in := append(append(bytes.Repeat([]byte{0xc2}, n), 5), bytes.Repeat([]byte{0x9d}, n)...)
	got := dropQueries(in)
	require.NotContains(t, string(got), "\xc2\x9d")
}

func FuzzDropQueries(f *testing.F) {
	f.Add([]byte("a\x1b[31mred\x1b[0m\x1b[6n\x1b]11;?\x07\x1bP$qm\x1b\\"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got := dropQueries(bytes.Clone(b))
		if len(got) > len(b) {
			t.Fatal("it grew")
		}
		if bytes.IndexByte(got, 5) >= 0 {
			t.Fatalf("ENQ went through in %q", b)
		}
		// What is left out must not bring together a query from its neighbours.
		if again := dropQueries(bytes.Clone(got)); !bytes.Equal(again, got) {
			t.Fatalf("%q was shortened again, to %q", got, again)
		}
	})
}

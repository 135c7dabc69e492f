package shim

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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

package termquery

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	for s, want := range map[string][2]bool{
		"rgb:0000/0000/0000": {true, true}, "rgb:ffff/ffff/ffff": {false, true}, "rgb:fd/f6/e3": {false, true},
		"#1c1c1c": {true, true}, "rgba:00/2b/36/ff": {true, true}, "rgb:zz/00/00": {}, "": {}, "rgb:1/2": {},
		"rgb:11111/0/0": {},
	} {
		dark, ok := Parse(s)
		require.Equal(t, want, [2]bool{dark, ok}, s)
	}
}

// Whatever the pieces in which input comes, keys get through in order and the answer does not.
func TestAnswerIsTakenOut(t *testing.T) {
	for _, end := range []string{"\x07", "\x1b\\"} {
		in := []byte("jk\x1b[A\x1b]11;rgb:ffff/ffff/ffff" + end + "q\x1b")
		for cut := 0; cut <= len(in); cut++ {
			if cut > 0 && cut < len(in) && in[cut-1] == 0x1b && in[cut] != '[' {
				continue // a lone ESC at the end of a read is the escape key
			}
			var said []bool
			tp := &Reader{Dark: func(d bool) { said = append(said, d) }}
			now := time.Unix(0, 0)
			out := append([]byte(nil), tp.filter(bytes.Clone(in[:cut]), now)...)
			out = append(out, tp.filter(bytes.Clone(in[cut:]), now)...)
			require.Equal(t, "jk\x1b[Aq\x1b", string(out), "cut at %d", cut)
			require.Equal(t, []bool{false}, said)
		}
	}
}

func TestWhatOnlyLooksLikeAnAnswerIsPassedOn(t *testing.T) {
	tp := &Reader{}
	now := time.Unix(0, 0)
	require.Empty(t, tp.filter([]byte("\x1b]11;abc"), now))
	require.Equal(t, "\x1b]11;abcx", string(tp.filter([]byte("x"), now.Add(time.Second))))
}

func FuzzFilter(f *testing.F) {
	f.Add([]byte("a\x1b]11;rgb:00/00/00\x07b"), 5)
	f.Add([]byte("\x1b]11;\x1b]11;\x1b]11;"), 3)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		tp := &Reader{}
		now := time.Unix(0, 0)
		cut = max(0, min(cut, len(b)))
		n := len(tp.filter(bytes.Clone(b[:cut]), now)) + len(tp.filter(bytes.Clone(b[cut:]), now))
		if n+len(tp.held) > len(b) {
			t.Fatalf("%q gives more than it has", b)
		}
		if !bytes.Contains(b, begin[:2]) && n != len(b) {
			t.Fatalf("%q lost input", b)
		}
	})
}

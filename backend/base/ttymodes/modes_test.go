package ttymodes

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func after(p string) *Modes {
	var m Modes
	m.Scan([]byte(p))
	return &m
}

func TestModesAreSetAgainAndSwitchedOff(t *testing.T) {
	for in, want := range map[string]struct{ on, off string }{
		"\x1b[?1049h\x1b[?1002;1006hx": {"\x1b[?1049h\x1b[2J\x1b[H\x1b[?1002h\x1b[?1006h", "\x1b[?1002l\x1b[?1006l\x1b[?25h\x1b[?1049l"},
		"\x1b[?25l\x1b[?7l":            {"\x1b[?7l\x1b[?25l", "\x1b[?7h\x1b[?25h\x1b[?25h"},
		"\x1b[?2004h\x1b[?2004l":       {"", "\x1b[?25h"},
		"\x1b[?12h\x1b[?9999h":         {"", "\x1b[?25h"},
		"\x1b[3;9r\x1b[4h":             {"\x1b[3;9r\x1b[4h", "\x1b[?25h"},
		"\x1b[>1u\x1b[>3u\x1b[<u":      {"\x1b[>1u", "\x1b[<1u\x1b[=0u\x1b[?25h"},
		"\x1b[=5u":                     {"\x1b[=5u", "\x1b[=0u\x1b[?25h"},
		"\x1b[>4;2m":                   {"\x1b[>4;2m", "\x1b[>4;0m\x1b[?25h"},
		"\x1b[>4;2m\x1b[>4m":           {"", "\x1b[?25h"},
		"\x1b=\x1b[4 q":                {"\x1b=\x1b[4 q", "\x1b>\x1b[0 q\x1b[?25h"},
		"\x1b)0\x0e":                   {"\x1b)0\x0e", "\x1b)B\x1b[?25h"},
		"\x0ea\x0fb\x1b(0\x1b(B":       {"", "\x1b[?25h"},
		"\x1b%@":                       {"\x1b%@", "\x1b%G\x1b[?25h"},
		"\x1b[?1h\x1b=\x1b[!p":         {"", "\x1b[?25h"},
		"\x1b[?1049h\x1bc":             {"", "\x1b[?25h"},
		"\x1bPq\x07\x1b":               {"", "\x1b[?25h"},
		"\x1bP\x1b[?1000h":             {"\x1b[?1000h", "\x1b[?1000l\x1b[?25h"},
		"\x1b]0;\x1b[?1000h":           {"\x1b[?1000h", "\x1b[?1000l\x1b[?25h"},
	} {
		m := after(in)
		require.Equal(t, want.on, string(m.On()), "%q", in)
		off := m.Off()
		off, found := bytes.CutPrefix(bytes.TrimPrefix(off, []byte{0x18}), []byte(Clean))
		require.True(t, found, "%q", in)
		require.Equal(t, want.off, string(off), "%q", in)
	}
	require.True(t, after("\x1bPq\x07text").Clone().state == str, "a bell ends no DCS")
	require.Equal(t, 3, after("\x1b[?10").Finish([]byte("49h\x1b[?1h")))
}

// FuzzModes follows any output in any pieces.
func FuzzModes(f *testing.F) {
	f.Add([]byte("\x1b[?1049h\x1b[?25lhello\x1b]0;title"), 5)
	f.Add([]byte("\x1bPq\x1b\x1b[?1000h\x0e\x1b[>4;2m\x1b[=1u\x1b(0\x1b[3;4r"), 3)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		cut = max(0, min(cut, len(b)))
		m := after(string(b[:cut]))
		m.Scan(b[cut:])
		whole := after(string(b))
		on := m.On()
		if !bytes.Equal(on, whole.On()) {
			t.Fatalf("in two pieces %q, in one %q", on, whole.On())
		}
		if again := after(string(on)).On(); !bytes.Equal(again, on) {
			t.Fatalf("%q makes modes that are set by %q", on, again)
		}
		if bytes.ContainsAny(on, "\x05\x07\x18") || len(on) > 8<<10 {
			t.Fatalf("set by %q", on)
		}
		m.Scan(m.Off())
		if on := m.On(); len(on) > 0 {
			t.Fatalf("%q is left on", on)
		}
	})
}

func BenchmarkScan(b *testing.B) {
	for name, line := range map[string]string{"text": "a line of a log, as long as they are\r\n",
		"colours": "\x1b[32mINFO\x1b[0m a line \x1b[1mof\x1b[0m a log\r\n"} {
		p := bytes.Repeat([]byte(line), 32<<10/len(line))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(p)))
			var m Modes
			for b.Loop() {
				m.Scan(p)
			}
		})
	}
}

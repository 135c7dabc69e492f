package plaintext

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
	"github.com/stretchr/testify/require"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"gpu-1":                            "gpu-1",
		"\x1b[31mred\x1b[0m":               "red",
		"a\x1b]0;title\x07b":               "ab",
		"a\x1b]52;c;aGk=\x1b\\b":           "ab",
		"line\nbreak\ttab":                 "line break tab",
		"bell\a nul\x00 del\x7f":           "bell nul del",
		"c1\u009b31m":                      "c131m",
		"\u202egnp.exe":                    "gnp.exe",
		"soft\u00adhyphen":                 "softhyphen",
		"heart\u2764\ufe0f":                "heart\u2764",
		"zero\u200bwidth":                  "zerowidth",
		"\xff\xfe":                         "\ufffd\ufffd",
		"日本語":                              "日本語",
		"e\u0301":                          "e\u0301",
		"z" + strings.Repeat("\u0301", 40): "z" + strings.Repeat("\u0301", maxMarks),
	} {
		require.Equal(t, want, Clean(in), "%q", in)
	}
}

func TestLines(t *testing.T) {
	require.Equal(t, []string{"a       b", "100%"}, Lines("a\tb\r\n 10%\r100%\n"))
	require.Nil(t, Lines(""))
}

func TestShort(t *testing.T) {
	require.Equal(t, "a b", Short(" a\n\tb ", 10))
	require.Equal(t, "a\u0308…", Short("a\u0308\u0308\u0308", 4))
}

// FuzzClean checks that nothing that a terminal acts on gets through, whatever comes in.
func FuzzClean(f *testing.F) {
	for _, s := range []string{"plain", "\x1b[31m", "\x1b\x1b[", "\x9b1m", "\u009b1m", "a\x1bPq\x1b\\", "\u202e",
		"\x1b]8;;http://x\x07y", "e\u0301\u0301", "\x1b[\x1b[31mm", "ก็็็็็"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := Clean(s)
		for _, c := range append(Lines(s), c, Short(s, 9)) {
			if !utf8.ValidString(c) {
				t.Fatalf("%q gives invalid UTF-8 %q", s, c)
			}
			for _, r := range c {
				if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
					t.Fatalf("%q leaks %U", s, r)
				}
			}
			if ansi.Strip(c) != c {
				t.Fatalf("%q leaks an escape: %q", s, c)
			}
		}
		if Clean(c) != c {
			t.Fatalf("%q is not stable: %q then %q", s, c, Clean(c))
		}
	})
}

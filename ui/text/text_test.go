package text

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/base/plaintext"
)

func TestTruncateAndWrap(t *testing.T) {
	require.Equal(t, "abc", Truncate("abc", 3, "…"))
	require.Equal(t, "ab…", Truncate("abcd", 3, "…"))
	require.Equal(t, "日…", Truncate("日本語", 4, "…"))
	require.Equal(t, "", Truncate("abc", 0, "…"))
	require.Equal(t, "a", Truncate("abc", 1, "…"))
	require.Equal(t, []string{"the quick", "brown fox"}, Wrap("the quick brown fox", 9))
	require.Equal(t, []string{"abcd", "ef gh"}[0], Wrap("abcdef gh", 4)[0])
	require.Nil(t, Wrap("x", 0))
}

// FuzzMeasures checks that what is cut and wrapped has the width that was asked for.
func FuzzMeasures(f *testing.F) {
	for _, s := range []string{"plain", "\x1b[31m", "\x1b\x1b[", "\x9b1m", "\u009b1m", "a\x1bPq\x1b\\", "\u202e",
		"\x1b]8;;http://x\x07y", "e\u0301\u0301", "\x1b[\x1b[31mm", "ก็็็็็"} {
		f.Add(s, 5)
	}
	f.Fuzz(func(t *testing.T, s string, w int) {
		c := plaintext.Clean(s)
		w = max(-1, min(w, 300))
		if got := Truncate(c, w, "…"); Width(got) > max(w, 0) {
			t.Fatalf("%q cut to %d has %d cells", c, w, Width(got))
		}
		for _, l := range Wrap(c, w) {
			if Width(l) > w {
				t.Fatalf("%q wrapped to %d has a line of %d", c, w, Width(l))
			}
		}
		if a := ASCII(c); !plaintext.Plain(a) {
			t.Fatalf("ASCII(%q) = %q", c, a)
		}
	})
}

func TestDistinct(t *testing.T) {
	require.Equal(t, []string{"/", "…volume-1", "…volume-2"}, Distinct([]string{"/", "/mnt/disks/volume-1",
		"/mnt/disks/volume-2"}, 9, "…"))
	require.Equal(t, []string{"/srv/a/d…", "/srv/b/d…"}, Distinct([]string{"/srv/a/data/set", "/srv/b/data/set"}, 9, "…"))
	require.Equal(t, []string{"same", "same"}, Distinct([]string{"same", "same"}, 9, "…"))
	got := Distinct([]string{"/a/long/way/x/to/go", "/a/long/way/y/to/go"}, 4, "…")
	for _, s := range got {
		require.LessOrEqual(t, Width(s), 4)
	}
}

// FuzzFold: nothing of a line is lost, and no piece is wider than it may be, but for one wide character.
func FuzzFold(f *testing.F) {
	f.Add("berth create gpu-7 --backend ec2 --size 'two  words'", 20)
	f.Add("   1234567890123456789012345678901234567890", 7)
	f.Add("日本語の長い行", 3)
	f.Add("日本", 1)
	f.Add("", 5)
	f.Fuzz(func(t *testing.T, s string, w int) {
		w = 1 + w&127
		s = plaintext.Clean(s)
		parts := Fold(s, w)
		require.Equal(t, s, strings.Join(parts, ""))
		for _, p := range parts {
			require.LessOrEqual(t, Width(p), max(w, 2), "%q", p)
		}
	})
}

func TestFoldBreaksAtSpaces(t *testing.T) {
	require.Equal(t, []string{"berth create ", "gpu-7 --backend-", "of-mine"}, Fold("berth create gpu-7 --backend-of-mine", 16))
	require.Equal(t, []string{"0123456789", "abc"}, Fold("0123456789abc", 10))
	require.Equal(t, []string{"short"}, Fold("short", 10))
}

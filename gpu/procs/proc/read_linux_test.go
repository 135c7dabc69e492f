package proc

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseStatWithAHostileName(t *testing.T) {
	st, err := parseStat([]byte("77 (a) R 1 2 (b) S 5 6 7 34816 9 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0\n"))
	require.NoError(t, err)
	require.Equal(t, Stat{PPID: 5, Group: 6, Session: 7, Start: 4242, TTY: true}, st)
	for _, bad := range []string{"", "1 (x", "1 (x) S 1", "1 (x) S a 6 7 0 9 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0"} {
		_, err := parseStat([]byte(bad))
		require.Error(t, err, bad)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("77 (a) R 1 2 (b) S 5 6 7 34816 9 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0\n"))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = parseStat(b) })
}

package proc

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseStatWithAHostileName(t *testing.T) {
	const line = "77 (a) R 1 2 (b) S 5 6 7 34816 -1 4194560 0 0 0 0 3 2 0 0 20 0 4 0 4242 1000000 9 18446744073709551615\n"
	st, ok := parseStat([]byte(line), 4096)
	require.True(t, ok)
	require.Equal(t, Stat{PID: 77, PPID: 5, Group: 6, Session: 7, Comm: []byte("a) R 1 2 (b"), State: 'S', TTY: true,
		Threads: 4, Start: 4242, CPU: 5 * tick, Memory: 9 * 4096}, st)
	for _, bad := range []string{"", "1 (x", "1 (x) S 1", "1 (x) S a 6 7 0 9 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 9"} {
		_, ok := parseStat([]byte(bad), 4096)
		require.False(t, ok, bad)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("7 (a (b) c) S 3 1 1 0 -1 4194560 1 0 0 0 5 0 0 0 20 0 3 0 7 1000000 9 18446744073709551615"))
	f.Add([]byte("7 () Z"))
	f.Add([]byte("Tgid:\t5\nUid:\t1\t2\t3\t4\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := parseStat(b, 4096); ok {
			require.True(t, s.PID >= 0 && s.Session >= 0 && s.Group >= 0)
			require.True(t, s.CPU >= 0 && s.Memory >= 0 && s.Threads >= 0)
		}
		parseOwner(b)
	})
}

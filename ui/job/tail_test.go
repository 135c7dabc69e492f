package job

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// However a log is cut into pieces, its lines are the same.
func TestATailIsTheSameHoweverItComes(t *testing.T) {
	const log = "one\r\n10%\r20%\r\n\n\tx\r30%\r"
	want := []string{"one", "20%", "", "30%"}
	for n := 1; n <= len(log); n++ {
		var l tail
		for at := 0; at < len(log); at += n {
			l.add(int64(at), []byte(log[at:min(at+n, len(log))]))
		}
		require.Equal(t, want, append(l.lines, l.last()), "in pieces of %d", n)
	}
}

func TestATailIsBounded(t *testing.T) {
	var l tail
	l.add(0, []byte(strings.Repeat("x\n", keepLines+dropLines+5)))
	require.Len(t, l.lines, keepLines+5)
	require.Equal(t, dropLines, l.dropped)
	l.add(1<<20, []byte("y\n"))
	require.Contains(t, l.lines[len(l.lines)-2], "of the log are not here")
	at := l.next
	for range 10 {
		b := []byte(strings.Repeat("z", maxLine))
		l.add(at, b)
		at += int64(len(b))
		require.LessOrEqual(t, len(l.open), maxLine)
	}
}

package attach

import (
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTypingThatIsNotTakenIsSaidToBeLost(t *testing.T) {
	q := newQueue(8)
	r := q.reader()
	said := func(s string) [2]any {
		full, lost := q.put([]byte(s))
		return [2]any{full, lost}
	}
	require.Equal(t, [2]any{false, 0}, said("12345"))
	require.Equal(t, [2]any{true, 0}, said("678xx"), "it begins to be lost")
	require.Equal(t, [2]any{false, 0}, said("yyy"))
	b := make([]byte, 6)
	n, err := r.Read(b)
	require.NoError(t, err)
	require.Equal(t, "123456", string(b[:n]))
	require.Equal(t, [2]any{false, 0}, said("z"), "no hole within what was typed")
	n, err = r.Read(b)
	require.NoError(t, err)
	require.Equal(t, "78", string(b[:n]))
	require.Equal(t, [2]any{false, 6}, said("next"), "and it is over")
	require.Equal(t, [2]any{false, 0}, said("!"))
	n, err = r.Read(b)
	require.NoError(t, err)
	require.Equal(t, "next!", string(b[:n]))
	q.close()
	_, err = r.Read(b)
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

// TestABigPasteArrivesWhole pastes far more than is taken at once, into a program that is slow to read.
func TestABigPasteArrivesWhole(t *testing.T) {
	paste := "\x1b[200~" + strings.Repeat("~~~\r~.\r\x1dd and what else is typed\r", 12<<10) + "\x1b[201~"
	_, c := serve(t, "sh", "-c", fmt.Sprintf("stty raw -echo; printf ready-now; sleep 0.3; head -c %d | md5sum; read x", len(paste)))
	u := newUser(t)
	ch := u.attach(context.Background(), c, "box")
	u.sees("ready-now")
	u.types(paste)
	u.sees(fmt.Sprintf("%x", md5.Sum([]byte(paste))))
	u.types("\x1dd")
	require.True(t, u.ends(ch).res.Detached)
}

// TestLeavingWhatIsNotTaken leaves a program that reads nothing.
func TestLeavingWhatIsNotTaken(t *testing.T) {
	s, c := serve(t, "sh", "-c", "stty raw -echo; printf ready-now; sleep 1000")
	u := newUser(t)
	ch := u.attach(context.Background(), c, "box")
	u.sees("ready-now")
	u.types(strings.Repeat("0123456789abcde\r", 64<<10))
	require.Eventually(t, func() bool {
		u.types("\x1dd")
		select {
		case o := <-ch:
			require.NoError(t, o.err)
			require.True(t, o.res.Detached)
			require.NotContains(t, o.res.String(), "; the shell goes on", "nobody said so")
			return true
		case <-time.After(200 * time.Millisecond): // it was not read by itself: what is read together is a paste
			return false
		}
	}, 2*time.Minute, time.Millisecond)
	u.sees("bytes that were typed were not taken, and are lost")
	require.NoError(t, syscall.Kill(s.pidOf(), syscall.SIGKILL)) // its terminal is full: nothing else ends it
}

package process

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/transport/wire"
	"berth/gpu/procs/proc"
)

var ended = Exit{ExitStatus: wire.ExitStatus{Code: 137, Signal: "KILL"},
	EndedAt: time.Date(2026, 11, 29, 6, 0, 0, 1, time.UTC)}

func exitLine(t testing.TB, x Exit) string {
	t.Helper()
	b, err := formatExit(x, exitRoom)
	require.NoError(t, err)
	return string(b)
}

func TestExitLine(t *testing.T) {
	dir := t.TempDir()
	_, ok, err := ReadExit(dir)
	require.NoError(t, err)
	require.False(t, ok, "there is no file")
	f, err := reserveExit(dir)
	require.NoError(t, err)
	_, ok, err = ReadExit(dir)
	require.NoError(t, err)
	require.False(t, ok, "there is room only")
	_, err = reserveExit(dir)
	require.ErrorIs(t, err, ErrBegun, "a folder is of one process")
	killed, err := reserveExit(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, killed.Close())
	next, err := reserveExit(filepath.Dir(killed.Name()))
	require.NoError(t, err, "one that was killed before its record has started nothing")
	require.NoError(t, next.Close())
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(killed.Name()), RecordName), nil, 0o600))
	_, err = reserveExit(filepath.Dir(killed.Name()))
	require.ErrorIs(t, err, ErrBegun, "with a record it may have")
	for range 2 {
		require.NoError(t, f.write(ended))
		x, ok, err := ReadExit(dir)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, ended, x)
	}
	// Words that are too long are left out: the status is what counts.
	long := ended
	long.Reason = strings.Repeat("x", exitRoom)
	x, ok, _, err := parseExit([]byte(exitLine(t, long)))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, ended, x)
}

// Where the file system can't promise room, blank lines take it.
func TestExitLineInBlankLines(t *testing.T) {
	room := strings.Repeat("\n", exitRoom)
	line := exitLine(t, ended)
	x, ok, _, err := parseExit([]byte(line + room[len(line):]))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, ended, x)
	_, ok, _, err = parseExit([]byte(room))
	require.NoError(t, err)
	require.False(t, ok)
}

// TestTornExitLine cuts and changes the line at each byte: what is left is never believed, nor taken for nothing.
func TestTornExitLine(t *testing.T) {
	line := exitLine(t, ended)
	for i := 1; i < len(line); i++ {
		for _, rest := range []string{"", "\n", strings.Repeat("\x00", len(line)-i), "\n\n\n"} {
			_, ok, _, err := parseExit([]byte(line[:i] + rest))
			if i == len(line)-1 && strings.HasPrefix(rest, "\n") {
				continue // whole again
			}
			require.False(t, ok, "%q", line[:i]+rest)
			require.ErrorIs(t, err, ErrExitLine)
		}
		b := []byte(line)
		b[i] ^= 1
		_, ok, _, err := parseExit(b)
		require.False(t, ok, "%q", b)
		require.ErrorIs(t, err, ErrExitLine)
	}
	// A torn attempt before the whole one, as a disk that was full for a while leaves it.
	x, ok, _, err := parseExit([]byte(line[:10] + "\n" + line))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, ended, x)

	// After the line that says who runs.
	who := begun{Child: proc.Identity{PID: 5, Start: 7, Boot: "b"}, At: ended.EndedAt}
	runs, err := formatLine(runsWord, who)
	require.NoError(t, err)
	for i := range line {
		_, ok, got, err := parseExit([]byte(string(runs) + line[:i]))
		require.False(t, ok)
		require.Equal(t, i == 0, err == nil)
		require.Equal(t, who, got)
	}
	x, ok, got, err := parseExit([]byte(string(runs) + line))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, ended, x)
	require.Equal(t, who, got)

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, exitName), []byte(line[:20]), 0o600))
	_, ok, err = ReadExit(dir)
	require.ErrorIs(t, err, ErrExitLine)
	require.False(t, ok)
}

// What shims of protocol 1 wrote.
func TestOldExit(t *testing.T) {
	dir := t.TempDir()
	const old = "{\n  \"code\": 5,\n  \"ended_at\": \"2026-11-28T20:15:01.000000001Z\"\n}\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, oldExitName), []byte(old), 0o600))
	x, ok, err := ReadExit(dir)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, 5, x.Code)
	require.Equal(t, 2026, x.EndedAt.Year())
	require.NoError(t, os.WriteFile(filepath.Join(dir, oldExitName), []byte(old[:9]), 0o600))
	_, ok, err = ReadExit(dir)
	require.Error(t, err)
	require.False(t, ok)
}

func FuzzParseExit(f *testing.F) {
	line := exitLine(f, ended)
	f.Add([]byte(line))
	f.Add([]byte("\n\n" + line + "x"))
	f.Add([]byte("exit {} 00000000\n"))
	runs, err := formatLine(runsWord, begun{})
	require.NoError(f, err)
	f.Add(append(runs, line...))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, ok, who, err := parseExit(b)
		if !ok {
			nothing := strings.Trim(string(b), "\n") == "" || bytes.HasPrefix(bytes.TrimLeft(b, "\n"), []byte(runsWord))
			require.True(t, nothing || err != nil, "something is never nothing")
			require.True(t, who == begun{} || bytes.Contains(b, []byte(runsWord)))
			return
		}
		require.NoError(t, err)
		again, ok, _, err := parseExit([]byte(exitLine(t, x)))
		require.NoError(t, err)
		require.True(t, ok)
		require.True(t, x.EndedAt.Equal(again.EndedAt))
		require.Equal(t, x.Code, again.Code)
	})
}

func FuzzReadRecord(f *testing.F) {
	f.Add([]byte(oldRecord))
	f.Add([]byte(`{"id":"1","shim":{"pid":-1}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, RecordName), b, 0o600))
		r, err := ReadRecord(dir, RecordName)
		if err == nil {
			require.True(t, r.ID != "" && r.Shim.PID > 0)
		}
		require.NotEqual(t, Running, Look(dir, RecordName).Fate)
	})
}

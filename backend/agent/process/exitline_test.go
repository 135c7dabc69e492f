package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/transport/wire"
)

var ended = Exit{ExitStatus: wire.ExitStatus{Code: 137, Signal: "KILL"},
	EndedAt: time.Date(2026, 11, 29, 6, 0, 0, 1, time.UTC)}

func exitLine(t testing.TB, x Exit) string {
	t.Helper()
	b, err := formatExit(x)
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
	require.ErrorIs(t, err, os.ErrExist, "a folder is of one process")
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
	x, ok, err := parseExit([]byte(exitLine(t, long)))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, ended, x)
}

// Where the file system can't promise room, blank lines take it.
func TestExitLineInBlankLines(t *testing.T) {
	room := strings.Repeat("\n", exitRoom)
	line := exitLine(t, ended)
	x, ok, err := parseExit([]byte(line + room[len(line):]))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, ended, x)
	_, ok, err = parseExit([]byte(room))
	require.NoError(t, err)
	require.False(t, ok)
}

// TestTornExitLine cuts and changes the line at each byte: what is left is never believed, nor taken for nothing.
func TestTornExitLine(t *testing.T) {
	line := exitLine(t, ended)
	for i := 1; i < len(line); i++ {
		for _, rest := range []string{"", "\n", strings.Repeat("\x00", len(line)-i), "\n\n\n"} {
			_, ok, err := parseExit([]byte(line[:i] + rest))
			if i == len(line)-1 && strings.HasPrefix(rest, "\n") {
				continue // whole again
			}
			require.False(t, ok, "%q", line[:i]+rest)
			require.ErrorIs(t, err, ErrExitLine)
		}
		b := []byte(line)
		b[i] ^= 1
		_, ok, err := parseExit(b)
		require.False(t, ok, "%q", b)
		require.ErrorIs(t, err, ErrExitLine)
	}
	// A torn attempt before the whole one, as a disk that was full for a while leaves it.
	x, ok, err := parseExit([]byte(line[:10] + "\n" + line))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, ended, x)

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
	f.Fuzz(func(t *testing.T, b []byte) {
		x, ok, err := parseExit(b)
		if !ok {
			require.Equal(t, strings.Trim(string(b), "\n") == "", err == nil, "something is never nothing")
			return
		}
		require.NoError(t, err)
		again, ok, err := parseExit([]byte(exitLine(t, x)))
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

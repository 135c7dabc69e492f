package joblog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// record is what stands in a test's log at an offset that it divides: any piece of the log can be checked.
const record = 16

func numbered(from, to int64) []byte {
	first := from - from%record
	b := bytes.Repeat([]byte("000000000000000\n"), int((to-first)/record)+1)
	for i := int64(0); first+i < to; i += record {
		for at, n := i+record-2, first+i; n > 0; at, n = at-1, n/10 {
			b[at] = byte('0' + n%10)
		}
	}
	return b[from-first:][:to-from]
}

func write(t testing.TB, dir string, from, to int64) {
	t.Helper()
	f, err := os.OpenFile(Path(dir), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	require.NoError(t, err)
	defer f.Close()
	for at := from; at < to; at += 1 << 20 {
		_, err = f.Write(numbered(at, min(at+1<<20, to)))
		require.NoError(t, err)
	}
}

func onDisk(t testing.TB, dir string) int64 {
	t.Helper()
	fi, err := os.Stat(Path(dir))
	require.NoError(t, err)
	return fi.Sys().(*syscall.Stat_t).Blocks * 512
}

func holes(t testing.TB, dir string) {
	t.Helper()
	if err := Prepare(dir); err != nil {
		t.Skip(err)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "waited in vain for %s", what)
	}
}

// TestALimit writes much more than the limit while one follows: the beginning and the end stay, and what is handed
// over is what was written, or is left out.
func TestALimit(t *testing.T) {
	dir := t.TempDir()
	holes(t, dir)
	const limit = 4 << 20
	total := int64(64 << 20)
	if os.Getenv("BERTH_CHAOS") != "" {
		total = 10 << 30
	}
	write(t, dir, 0, 0)
	ctx, cancel := context.WithCancel(t.Context())
	var ours sync.WaitGroup
	ours.Go(func() {
		if err := Limit(ctx, dir, limit); err != nil {
			t.Error(err)
		}
	})
	log, err := Open(dir)
	require.NoError(t, err)
	defer log.Close()
	done := make(chan struct{})
	follow := func(each time.Duration) func() {
		return func() {
			next, gaps := int64(0), int64(0)
			err := log.Follow(ctx, 0, done, func(at int64, b []byte) error {
				if at < next || !bytes.Equal(b, numbered(at, at+int64(len(b)))) {
					return fmt.Errorf("%d bytes at %d, after %d, are not what was written: %q", len(b), at, next, b[:min(len(b), 40)])
				}
				gaps += at - next
				next = at + int64(len(b))
				time.Sleep(each)
				return nil
			})
			if err != nil || next != total {
				t.Errorf("followed up to %d: %v", next, err)
			}
			t.Logf("with %v between pieces %d bytes were left out", each, gaps)
		}
	}
	var followers sync.WaitGroup
	followers.Go(follow(0))
	followers.Go(follow(2 * time.Millisecond))
	write(t, dir, 0, total)
	eventually(t, "the log to be cut", func() bool { return onDisk(t, dir) < Head+limit+max(limit/4, leastSlack)+1<<20 })
	close(done)
	followers.Wait()
	cancel()
	ours.Wait()

	size, cut, err := log.Size()
	require.NoError(t, err)
	require.EqualValues(t, total, size)
	require.EqualValues(t, Head, cut.From)
	require.LessOrEqual(t, cut.To, size-limit)
	var whole bytes.Buffer
	require.NoError(t, log.Follow(t.Context(), 0, done, func(_ int64, b []byte) error {
		whole.Write(b)
		return nil
	}))
	require.Equal(t, append(numbered(0, Head), numbered(cut.To, size)...), whole.Bytes())
	// One who comes back to an offset that is gone goes on behind the hole.
	stop := errors.New("enough")
	require.ErrorIs(t, log.Follow(t.Context(), Head+5, done, func(at int64, b []byte) error {
		require.Equal(t, cut.To, at)
		return stop
	}), stop)
	last, err := log.Last(2, 1<<10)
	require.NoError(t, err)
	require.Equal(t, string(numbered(total-2*record, total)), string(last))
	from, err := log.Tail(1<<30, 1<<40)
	require.NoError(t, err)
	require.Greater(t, from, cut.To)
	require.Less(t, from, cut.To+2*record)

	// Another shim goes on with the same log.
	ctx, cancel = context.WithCancel(t.Context())
	ours.Go(func() { _ = Limit(ctx, dir, limit) })
	write(t, dir, total, total+32<<20)
	eventually(t, "another cut", func() bool { c, err := log.Cut(); return err == nil && c.To > cut.To })
	cancel()
	ours.Wait()
}

// A job may shorten its log itself.
func TestALogThatWasShortened(t *testing.T) {
	dir := t.TempDir()
	holes(t, dir)
	write(t, dir, 0, 32<<20)
	ctx, cancel := context.WithCancel(t.Context())
	var ours sync.WaitGroup
	ours.Go(func() { _ = Limit(ctx, dir, 1<<20) })
	log, err := Open(dir)
	require.NoError(t, err)
	defer log.Close()
	eventually(t, "the cut", func() bool { c, err := log.Cut(); return err == nil && c.To > 0 })
	require.NoError(t, os.Truncate(Path(dir), 0))
	write(t, dir, 0, record)
	eventually(t, "no cut", func() bool { c, err := log.Cut(); return err == nil && c.To == 0 })
	last, err := log.Last(1, 100)
	require.NoError(t, err)
	require.Equal(t, string(numbered(0, record)), string(last))
	cancel()
	ours.Wait()
}

func TestFollowGoesOn(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	write(t, dir, 0, 3)
	log, err := Open(dir)
	require.NoError(t, err)
	defer log.Close()
	done, got := make(chan struct{}), make(chan int64, 100)
	var ours sync.WaitGroup
	next := int64(1)
	ours.Go(func() {
		err := log.Follow(t.Context(), next, done, func(at int64, b []byte) error {
			if at != next || !bytes.Equal(b, numbered(at, at+int64(len(b)))) {
				t.Errorf("%q at %d", b, at)
			}
			next = at + int64(len(b))
			got <- next
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	require.EqualValues(t, 3, <-got)
	for i := int64(4); i < 50; i++ {
		write(t, dir, i-1, i)
		require.Equal(t, i, <-got)
	}
	write(t, dir, 49, 80)
	close(done)
	ours.Wait()
	require.EqualValues(t, 80, next, "what was written before the end is handed over")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	require.ErrorIs(t, log.Follow(ctx, 0, nil, func(int64, []byte) error { return nil }), context.Canceled)
}

// TestTail compares with splitting the whole.
func TestTail(t *testing.T) {
	for _, text := range []string{"", "\n", "a", "a\n", "a\nb", "a\nb\n", "\n\n\n", "a\n\nb\n\n", "x\ry\rz\nw",
		strings.Repeat("line\n", 30000), strings.Repeat("x", 200000), strings.Repeat("x", 200000) + "\nlast"} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(Path(dir), []byte(text), 0o600))
		log, err := Open(dir)
		require.NoError(t, err)
		lines := strings.SplitAfter(text, "\n")
		if lines[len(lines)-1] == "" {
			lines = lines[:len(lines)-1]
		}
		for _, n := range []int{0, 1, 2, 3, 20000, 1 << 30} {
			want := strings.Join(lines[max(0, len(lines)-n):], "")
			from, err := log.Tail(n, 1<<40)
			require.NoError(t, err)
			require.Equal(t, len(want), len(text)-int(from), "%d lines of %.20q", n, text)
			from, err = log.Tail(n, 1000)
			require.NoError(t, err)
			require.GreaterOrEqual(t, from, int64(len(text)-1000))
			if len(want) <= 1000 {
				require.Equal(t, len(want), len(text)-int(from))
			}
		}
		require.NoError(t, log.Close())
	}
}

func FuzzParseCut(f *testing.F) {
	f.Add([]byte("cut 00000000000001048576 00000000000009000000 00000000\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, ok := parseCut(b)
		require.True(t, !ok || c.From >= 0 && c.To >= c.From)
		if c.From < 0 || c.To < c.From {
			return
		}
		file, err := os.Create(t.TempDir() + "/cut")
		require.NoError(t, err)
		defer file.Close()
		require.NoError(t, writeCut(file, c))
		got, err := readCut(file)
		require.NoError(t, err)
		require.Equal(t, c, got)
	})
}

// What was cut is believed only whole.
func TestATornCut(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/cut")
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, writeCut(file, Cut{Head, 123456789}))
	line, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	require.Len(t, line, cutSize)
	for i := range line {
		b := bytes.Clone(line)
		b[i] ^= 1
		_, ok := parseCut(b)
		require.False(t, ok, "%q", b)
		_, ok = parseCut(append(bytes.Clone(line[:i]), make([]byte, cutSize-i)...))
		require.False(t, ok)
	}
	require.NoError(t, file.Truncate(10))
	_, err = readCut(file)
	require.ErrorIs(t, err, errCut)
}

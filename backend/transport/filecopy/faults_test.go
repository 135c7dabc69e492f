package filecopy

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"berth/backend/api"
)

func random(t testing.TB, path string, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = r.Read(b) // it never fails
	require.NoError(t, os.WriteFile(path, b, 0o644))
	return b
}

// temps lists what is not whole below a folder.
func temps(t testing.TB, root string) (out []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if IsTemp(d.Name()) {
			out = append(out, path)
		}
		return err
	}))
	return out
}

// cut is a connection that breaks after so many bytes were written to it.
type cut struct {
	net.Conn
	left atomic.Int64
}

func (c *cut) Write(p []byte) (int, error) {
	if c.left.Add(-int64(len(p))) < 0 {
		_ = c.Close()
		return 0, io.ErrClosedPipe
	}
	return c.Conn.Write(p)
}

// TestBrokenLineGoesOn cuts the line again and again: the final name is there only when it is whole, and no byte that
// has arrived comes twice.
func TestBrokenLineGoesOn(t *testing.T) {
	dir := t.TempDir()
	want := random(t, dir+"/src", 20<<20+12345)
	var passed, cuts int64
	for {
		a, b := ends(t)
		c := &cut{Conn: a.Conn}
		c.left.Store(5 << 20)
		a = api.NewStream(c, nil)
		done := make(chan error, 1)
		go func() {
			_, err := (&Receiver{Target: dir + "/dst"}).Receive(context.Background(), b)
			done <- err
		}()
		_, err := (&Sender{Source: dir + "/src"}).Send(context.Background(), a)
		rerr := <-done
		passed += 5<<20 - max(c.left.Load(), 0)
		if err == nil {
			require.NoError(t, rerr)
			break
		}
		cuts++
		require.Less(t, cuts, int64(20))
		require.Equal(t, api.CodeUnreachable, api.AsError(err).Code, err)
		require.Equal(t, api.CodeUnreachable, api.AsError(rerr).Code, rerr)
		require.NoFileExists(t, dir+"/dst")
		require.Len(t, temps(t, dir), 1)
	}
	require.Positive(t, cuts)
	b, err := os.ReadFile(dir + "/dst")
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, b))
	require.Empty(t, temps(t, dir))
	require.Less(t, passed, int64(len(want))+(cuts+1)*2*blockSize, "what was there is not sent again")
}

// TestLeftOfAnother: what is left is of a source that begins otherwise.
func TestLeftOfAnother(t *testing.T) {
	dir := t.TempDir()
	want := random(t, dir+"/src", 3<<20)
	require.NoError(t, os.WriteFile(dir+"/"+tempName("dst"), make([]byte, 5<<20), 0o600))
	run(t, Sender{Source: dir + "/src"}, Receiver{Target: dir + "/dst"}).ok(t)
	require.True(t, bytes.Equal(want, []byte(read(t, dir+"/dst"))))
	require.Empty(t, temps(t, dir))
}

// TestNobodyElseWrites: two copies of one name at once, and something in the way of the temporary name.
func TestNobodyElseWrites(t *testing.T) {
	dir := t.TempDir()
	random(t, dir+"/src", 3<<20)
	f, err := os.Create(dir + "/" + tempName("dst"))
	require.NoError(t, err)
	require.NoError(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	e := run(t, Sender{Source: dir + "/src"}, Receiver{Target: dir + "/dst"})
	require.Equal(t, 1, e.sent.Problems)
	require.Contains(t, e.receiveSay[0], "is being copied by another one now")
	require.NoError(t, f.Close())

	require.NoError(t, os.Remove(f.Name()))
	write(t, dir+"/precious", "keep")
	require.NoError(t, os.Link(dir+"/precious", f.Name()))
	e = run(t, Sender{Source: dir + "/src"}, Receiver{Target: dir + "/dst"})
	require.Contains(t, strings.Join(e.receiveSay, ""), "is in the way")
	require.Equal(t, "keep", read(t, dir+"/precious"))
	require.NoError(t, os.Remove(f.Name()))
	require.NoError(t, os.Symlink(dir+"/precious", f.Name()))
	e = run(t, Sender{Source: dir + "/src"}, Receiver{Target: dir + "/dst"})
	require.Equal(t, 1, e.received.Problems)
	require.Equal(t, "keep", read(t, dir+"/precious"))
	require.NoFileExists(t, dir+"/dst")
}

// TestSourceThatChanges is noticed: what was there stays, and the other files come.
func TestSourceThatChanges(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"grows": func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteString("more")
			return err
		},
		"shrinks": func(path string) error { return os.Truncate(path, 1000) },
		"is written to": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte("x"), 0)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.Mkdir(dir+"/src", 0o755))
			random(t, dir+"/src/a", 8<<20)
			write(t, dir+"/src/b", "b")
			write(t, dir+"/dst/a", "before")
			var once atomic.Bool
			active := func() {
				if once.CompareAndSwap(false, true) {
					if err := change(dir + "/src/a"); err != nil {
						t.Error(err)
					}
				}
			}
			e := run(t, Sender{Source: dir + "/src/.", Common: Common{Active: active}},
				Receiver{Target: dir + "/dst", Contents: true})
			require.NoError(t, e.sendErr)
			require.NoError(t, e.receiveErr)
			want := dir + "/src/a has changed while it was copied; what was there before is untouched"
			require.Equal(t, []string{want}, e.sendSays)
			require.Equal(t, e.sendSays, e.receiveSay)
			require.Equal(t, "before", read(t, dir+"/dst/a"))
			require.Equal(t, "b", read(t, dir+"/dst/b"))
		})
	}
}

// TestFullDisk: it is said, with the code of what protects something, and nothing is left that fills it.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(dir+"/small", 0o755))
	if err := mountSmall(dir + "/small"); err != nil {
		t.Skipf("needs root: to mount a small tmpfs: %v", err)
	}
	defer unmount(dir + "/small")
	require.NoError(t, os.Mkdir(dir+"/src", 0o755))
	random(t, dir+"/src/a", 1<<20)
	random(t, dir+"/src/b", 8<<20)
	e := run(t, Sender{Source: dir + "/src"}, Receiver{Target: dir + "/small", Name: "src"})
	for _, err := range []error{e.sendErr, e.receiveErr} {
		require.Equal(t, api.CodeRefused, api.AsError(err).Code, err)
		require.Equal(t, 1, strings.Count(err.Error(), "the disk is full"), err)
	}
	require.Len(t, read(t, dir+"/small/src/a"), 1<<20)
	require.NoFileExists(t, dir+"/small/src/b")
	require.Empty(t, temps(t, dir))
}

// TestEndedByTheCaller: a copy ends soon with its context, on both sides.
func TestEndedByTheCaller(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(dir + "/src")
	require.NoError(t, err)
	require.NoError(t, f.Truncate(1<<43))
	require.NoError(t, f.Close())
	a, b := ends(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := (&Receiver{Target: dir + "/dst"}).Receive(context.Background(), b)
		done <- err
	}()
	time.AfterFunc(100*time.Millisecond, cancel)
	_, err = (&Sender{Source: dir + "/src"}).Send(ctx, a)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, api.CodeUnreachable, api.AsError(<-done).Code)
}

// TestNoSuchSource is said by the side that has it.
func TestNoSuchSource(t *testing.T) {
	dir := t.TempDir()
	e := run(t, Sender{Source: dir + "/none"}, Receiver{Target: dir + "/dst", Common: Common{Peer: "vision"}})
	require.ErrorContains(t, e.sendErr, dir+"/none: no such file")
	require.ErrorContains(t, e.receiveErr, "vision: "+dir+"/none: no such file")
	e = run(t, Sender{Source: dir}, Receiver{Target: dir + "/none/dst"})
	require.ErrorContains(t, e.sendErr, "there is no folder "+dir+"/none to put it into")
}

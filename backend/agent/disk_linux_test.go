package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/server"
	"berth/backend/agent/server/servertest"
	"berth/backend/api"
	"berth/backend/base/paths"
)

func TestReadOnlyStateIsSaid(t *testing.T) {
	needRoot(t, "to mount a read-only file system")
	o := testOptions(t)
	dir := filepath.Dir(filepath.Dir(o.State))
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_RDONLY, "size=1m"); err != nil {
		t.Skipf("can't mount here: %v", err)
	}
	defer func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }()
	_, err := Start(t.Context(), o, false)
	require.ErrorIs(t, err, syscall.EROFS)
	require.ErrorContains(t, err, "the agent's folder")
}

// fullDisk is a folder on a small file system.
func fullDisk(t *testing.T, size string) string {
	t.Helper()
	needRoot(t, "to mount a small file system")
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "nr_inodes=64,size="+size); err != nil {
		t.Skipf("can't mount here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill leaves no room, also when others give some free for a moment yet.
func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.CreateTemp(dir, "fill")
	require.NoError(t, err)
	defer f.Close()
	for full := 0; full < 5; full++ {
		for {
			if _, err := f.Write(make([]byte, 512)); err != nil {
				require.ErrorIs(t, err, syscall.ENOSPC)
				break
			}
			full = 0
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// fillInodes leaves no inode.
func fillInodes(t *testing.T, dir string) {
	t.Helper()
	for i := 0; ; i++ {
		if err := os.Mkdir(filepath.Join(dir, fmt.Sprint("i", i)), 0o700); err != nil {
			if errors.Is(err, os.ErrExist) {
				continue
			}
			require.ErrorIs(t, err, syscall.ENOSPC)
			return
		}
	}
}

func TestFullDisk(t *testing.T) {
	o := testOptions(t)
	dir := fullDisk(t, "64k")
	o.State = filepath.Join(dir, "agent")
	_, c := serve(t, o)
	p := servertest.Attach(t, c, api.TerminalRequest{New: true})
	fill(t, dir)
	// What runs goes on, commands run, and a terminal opens all the same: it needs neither room nor an inode there.
	p.Types("echo he''re\n")
	p.Sees("here")
	r, err := execute(t, c, sh("echo ok"), "")
	require.NoError(t, err)
	require.Equal(t, "ok\n", r.Stdout)
	if o.SpareDir() == "" {
		t.Skip("no folder of this host is in memory")
	}
	for range 2 { // without room, then without an inode, too
		q := servertest.Attach(t, c, api.TerminalRequest{New: true})
		q.Types("echo th''ere\n")
		q.Sees("there")
		q.Types("exit 3\n")
		<-q.Done
		require.Equal(t, 3, q.End.Code)
		fillInodes(t, dir)
	}
	eventually(t, "nothing stays in memory", func() bool { return !paths.Exists(o.SpareDir()) })
	// The end of one is told to who is attached, even if it can't be written down.
	p.Types("exit 4\n")
	<-p.Done
	require.Equal(t, 4, p.End.Code)
	eventually(t, "its folder to go", func() bool { l, err := c.Terminals(t.Context()); return err == nil && len(l) == 0 })
}

// TestAnAgentComesBackOnAFullDisk kills an agent whose disk is full: the next one finds its terminals.
func TestAnAgentComesBackOnAFullDisk(t *testing.T) {
	o := testOptions(t)
	dir := fullDisk(t, "200m") // with room for the program
	o.State = filepath.Join(dir, "agent")
	if o.SpareDir() == "" {
		t.Skip("no folder of this host is in memory")
	}
	info, c := startDetached(t, o)
	fill(t, dir)
	fillInodes(t, dir)
	p := servertest.Attach(t, c, api.TerminalRequest{New: true})
	p.Types("echo kept''\n")
	p.Sees("kept")
	require.NoError(t, syscall.Kill(info.PID, syscall.SIGKILL))
	<-p.Done
	again, c := startDetached(t, o)
	require.NotEqual(t, info.PID, again.PID)
	terms, err := c.Terminals(t.Context())
	require.NoError(t, err)
	require.Len(t, terms, 1)
	rec, err := server.ReadRecord(o)
	require.NoError(t, err)
	require.Equal(t, again.PID, rec.PID)
	q := servertest.Attach(t, c, api.TerminalRequest{ID: terms[0].ID})
	q.Types("exit 6\n")
	<-q.Done
	require.Equal(t, 6, q.End.Code)
}

func TestAFileSystemThatForbidsProgramsIsSaid(t *testing.T) {
	needRoot(t, "to mount a file system without programs")
	o := testOptions(t)
	dir := filepath.Dir(filepath.Dir(o.State))
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_NOEXEC, "size=200m"); err != nil {
		t.Skipf("can't mount here: %v", err)
	}
	defer func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }()
	_, err := Start(t.Context(), o, false)
	require.ErrorIs(t, err, syscall.EACCES)
	require.ErrorContains(t, err, "noexec")
}

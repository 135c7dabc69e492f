package agent

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/server/servertest"
	"berth/backend/api"
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

// fullDisk is a folder on a file system without any room left.
func fullDisk(t *testing.T) string {
	t.Helper()
	needRoot(t, "to mount a small file system")
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,nr_inodes=64"); err != nil {
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

func TestFullDisk(t *testing.T) {
	o := testOptions(t)
	dir := fullDisk(t)
	o.State = filepath.Join(dir, "agent")
	_, c := serve(t, o)
	p := servertest.Attach(t, c, api.TerminalRequest{New: true})
	fill(t, dir)
	// What runs goes on, commands run, and a terminal that can't be kept is not opened.
	p.Types("echo he''re\n")
	p.Sees("here")
	r, err := execute(t, c, sh("echo ok"), "")
	require.NoError(t, err)
	require.Equal(t, "ok\n", r.Stdout)
	s, err := c.OpenTerminal(t.Context(), api.TerminalRequest{New: true})
	require.NoError(t, err)
	_, err = s.Run(t.Context(), api.StreamIO{Stdout: io.Discard})
	require.ErrorContains(t, err, "no space left on device")
	// The end of one is told to who is attached, even if it can't be written down.
	p.Types("exit 4\n")
	<-p.Done
	require.Equal(t, 4, p.End.Code)
	eventually(t, "its folder to go", func() bool { l, err := c.Terminals(t.Context()); return err == nil && len(l) == 0 })
	fill(t, dir)
	o2 := testOptions(t)
	o2.State = filepath.Join(dir, "other")
	_, err = newAgent(t, o2)
	require.ErrorContains(t, err, "no space left on device")
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

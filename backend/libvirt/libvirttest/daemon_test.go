package libvirttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/digitalocean/go-libvirt"
	"github.com/stretchr/testify/require"
)

func TestDaemonIsPrivateAndComesBack(t *testing.T) {
	var dir string
	t.Run("life", func(t *testing.T) {
		d := Start(t)
		dir = d.Dir
		l := d.Connect()
		_, err := l.DomainDefineXML(`<domain type='qemu'><name>kept</name><memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os></domain>`)
		require.NoError(t, err)
		doms, _, err := l.ConnectListAllDomains(1, 0)
		require.NoError(t, err)
		require.Len(t, doms, 1)
		d.Kill()
		_, _, err = l.ConnectListAllDomains(1, 0)
		require.Error(t, err)
		d.Restart()
		l = d.Connect()
		dom, err := l.DomainLookupByName("kept")
		require.NoError(t, err)
		require.NoError(t, l.DomainCreate(dom))
		d.Restart()
		l = d.Connect()
		dom, err = l.DomainLookupByName("kept")
		require.NoError(t, err)
		state, _, err := l.DomainGetState(dom, 0)
		require.NoError(t, err)
		require.Equal(t, libvirt.DomainRunning, libvirt.DomainState(state), "a machine outlives its daemon")
	})
	if dir == "" {
		return // it was skipped
	}
	require.NoDirExists(t, dir)
	out, _ := exec.Command("sh", "-c", "grep -sl -- '="+dir+"/' /proc/[0-9]*/environ").Output()
	require.Empty(t, string(out), "nothing of it runs on")
}

func TestSweepRemovesWhatAKilledTestLeft(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "bv-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	f, err := lockDir(dir)
	require.NoError(t, err)
	cmd := exec.Command("sleep", "300")
	cmd.Env = []string{"XDG_CACHE_HOME=" + filepath.Join(dir, "cache")}
	require.NoError(t, cmd.Start())
	sweep()
	require.DirExists(t, dir, "its test runs")
	require.NoError(t, f.Close())
	sweepDone := make(chan struct{})
	go func() { _ = cmd.Wait(); close(sweepDone) }()
	sweep()
	<-sweepDone
	require.NoDirExists(t, dir)
}

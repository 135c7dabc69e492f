//go:build bench

package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/transport/ssh/sshdtest"
)

// TestBenchCopy compares cp and sync with scp and rsync over one sshd, in pairs: a large file, and many small ones.
func TestBenchCopy(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	b := newBenchWorld(t)
	dir := t.TempDir()
	known := filepath.Join(dir, "known")
	require.NoError(t, os.WriteFile(known, []byte(s.KnownHosts()+"\n"), 0o600))
	conf := sshdtest.Config(t, s.Stanza("gpu1", known))
	b.env = []string{"BERTH_SSH_CONFIG=" + conf}
	must(t, b.command("adopt", "gpu1", "gpu1"))

	data := make([]byte, 96<<20)
	_, _ = rand.Read(data) // it never fails
	require.NoError(t, os.WriteFile(dir+"/big", data, 0o600))
	for i := range 2000 {
		sub := fmt.Sprintf("%s/many/%d", dir, i%20)
		require.NoError(t, os.MkdirAll(sub, 0o755))
		require.NoError(t, os.WriteFile(fmt.Sprintf("%s/%d", sub, i), data[i:i+4096], 0o600))
	}
	n := 0
	fresh := func() string { n++; return fmt.Sprintf("%s/to%d", s.Home, n) } // scp has another home folder
	rsync := func(args ...string) *exec.Cmd {
		return exec.Command("rsync", append([]string{"-a", "-e", "ssh -F " + conf}, args...)...)
	}
	for _, c := range []struct {
		name         string
		ours, theirs func() *exec.Cmd
	}{
		{"cp 96 MiB there, scp", func() *exec.Cmd { return b.command("cp", dir+"/big", "gpu1:"+fresh()) },
			func() *exec.Cmd { return exec.Command("scp", "-F", conf, "-q", dir+"/big", "gpu1:"+fresh()) }},
		{"cp 96 MiB back, scp", func() *exec.Cmd { return b.command("cp", "gpu1:"+s.Home+"/to1", dir+"/back") },
			func() *exec.Cmd { return exec.Command("scp", "-F", conf, "-q", "gpu1:"+s.Home+"/to1", dir+"/back") }},
		{"cp 2,000 files of 4 KiB there, scp", func() *exec.Cmd { return b.command("cp", dir+"/many", "gpu1:"+fresh()) },
			func() *exec.Cmd { return exec.Command("scp", "-F", conf, "-q", "-r", dir+"/many", "gpu1:"+fresh()) }},
		{"sync of them for the first time, rsync", func() *exec.Cmd { return b.command("sync", dir+"/many", "gpu1:"+fresh()) },
			func() *exec.Cmd { return rsync(dir+"/many/", "gpu1:"+fresh()) }},
		{"sync of nothing new, rsync", func() *exec.Cmd { return b.command("sync", dir+"/many", "gpu1:"+s.Home+"/ours") },
			func() *exec.Cmd { return rsync(dir+"/many/", "gpu1:"+s.Home+"/theirs") }},
	} {
		var ours, theirs []time.Duration
		var ratios []float64
		for i := range 5 {
			x, _ := must(t, c.ours())
			y, _ := must(t, c.theirs())
			if i > 0 { // not the warm-up
				ours, theirs, ratios = append(ours, x), append(theirs, y), append(ratios, float64(x)/float64(y))
			}
		}
		slices.Sort(ratios)
		fmt.Printf("%s: %s and %s: %.2f x (target 1.2 x)\n", c.name, ms(median(ours)), ms(median(theirs)),
			ratios[len(ratios)/2])
	}
}

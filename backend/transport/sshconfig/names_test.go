package sshconfig

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNames(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	write("conf.d/10-lab", "HOST lab-1 lab-2 lab-*\n  HostName 10.0.0.1\nInclude "+dir+"/main\n")
	write("conf.d/20-more", "Host=\"with space\" last # a remark\n")
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "conf.d/30-pipe"), 0o600))
	main := write("main", "# Host commented\nUser ada\nInclude "+dir+"/conf.d/* "+dir+"/none\nHost gpu !bad web?\n\tPort 22\n"+
		"Match host x\n  User y\nhost\tgpu other\nHost *\n  ServerAliveInterval 5\n")
	require.Equal(t, []string{"lab-1", "lab-2", "gpu", "other", "with space", "last"}, Names(main),
		"in the order in which ssh reads them; a loop ends")
	require.Empty(t, Names(filepath.Join(dir, "none")))
	require.Empty(t, Names(dir))
}

func FuzzNames(f *testing.F) {
	f.Add("Host a b\nInclude /etc/*\n")
	f.Add("Host=\"")
	f.Fuzz(func(t *testing.T, text string) {
		for _, line := range []string{text, "Host " + text} {
			key, args := keyword(line)
			for _, a := range args {
				_ = key + a
			}
		}
		path := filepath.Join(t.TempDir(), "config")
		require.NoError(t, os.WriteFile(path, []byte("Host "+text), 0o600))
		for _, n := range Names(path) {
			require.NotContains(t, n, "*")
			require.NotEmpty(t, n)
		}
	})
}

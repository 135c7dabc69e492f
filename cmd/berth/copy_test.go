package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"

	"berth/backend/transport/ssh/sshdtest"
)

// TestSides reads the arguments of cp.
func TestSides(t *testing.T) {
	for arg, want := range map[string]side{
		"vision:":           {instance: "vision"},
		"vision:a:b":        {instance: "vision", path: "a:b"},
		"vision/14:out":     {instance: "vision", job: "14", path: "out"},
		"vision/12_3:":      {instance: "vision", job: "12_3"},
		"ec2/vision:x":      {instance: "ec2/vision", path: "x"},
		"ec2/vision/14:~/x": {instance: "ec2/vision", job: "14", path: "~/x"},
		"./a:b":             {path: "./a:b"},
		"/a:b":              {path: "/a:b"},
		"a b:c":             {path: "a b:c"},
		"file":              {path: "file"},
		":x":                {path: ":x"},
		"12:30":             {path: "12:30"},
	} {
		require.Equal(t, want, readSide(arg), arg)
	}
}

// TestCopyOverSSH copies a folder there and back over a real sshd, with exit codes that tell what went wrong.
func TestCopyOverSSH(t *testing.T) {
	t.Parallel()
	w, s := remoteWorld(t, sshdtest.Options{})
	w.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
	dir := t.TempDir()
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	require.NoError(t, os.MkdirAll(dir+"/src/sub", 0o755))
	require.NoError(t, os.WriteFile(dir+"/src/sub/big", big, 0o640))
	require.NoError(t, os.WriteFile(dir+"/src/\xff odd\n", []byte("x"), 0o600))
	require.NoError(t, os.Symlink("sub", dir+"/src/link"))
	when := time.Unix(1_000_000_000, 123_456_789)
	require.NoError(t, os.Chtimes(dir+"/src/sub/big", when, when))

	require.Empty(t, w.ok("cp", "-r", dir+"/src", "gpu1:there"))
	require.Empty(t, w.ok("cp", "gpu1:there", dir+"/back"))
	b, err := os.ReadFile(dir + "/back/sub/big")
	require.NoError(t, err)
	require.True(t, bytes.Equal(big, b))
	fi, err := os.Stat(dir + "/back/sub/big")
	require.NoError(t, err)
	require.True(t, fi.ModTime().Equal(when))
	require.Equal(t, os.FileMode(0o640), fi.Mode())
	require.FileExists(t, dir+"/back/\xff odd\n")
	target, err := os.Readlink(dir + "/back/link")
	require.NoError(t, err)
	require.Equal(t, "sub", target)

	w.ok("cp", dir+"/src/sub", dir+"/src/link", "gpu1:")
	require.Equal(t, "link/big\nsub/big\n", w.ok("exec", "gpu1", "--", "sh", "-c", "ls link/big sub/big"),
		"a link that is named is followed")

	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"cp", "gpu1:none", dir}, 1, "/none: no such file or folder"},
		{[]string{"cp", "gpu1:*.csv", dir}, 1, "wildcards are not expanded"},
		{[]string{"cp", dir + "/none", dir + "/src/sub/big", "gpu1:"}, 1, "one thing was not copied"},
		{[]string{"sync", "gpu1:none", dir + "/x"}, 2, "berth cp gpu1:none"},
		{[]string{"sync", "/", "gpu1"}, 2, "no name to go under"},
		{[]string{"cp", dir + "/none", "gpu1:"}, 1, "no such file"},
		{[]string{"cp", dir + "/src", "nobody:"}, 3, `no instance "nobody"`},
		{[]string{"cp", dir + "/src", dir + "/x"}, 2, "exactly one side"},
		{[]string{"cp", "gpu1:a", "gpu1:b"}, 2, "exactly one side"},
		{[]string{"cp", "gpu1:a"}, 2, "what is copied"},
		{[]string{"cp", dir + "/src/sub/big", "gpu1:none/"}, 1, "no folder"},
	} {
		r := w.run(c.args...)
		require.Equal(t, c.code, r.code, "%v: %s", c.args, r.err)
		require.Contains(t, r.err, c.says)
		require.Empty(t, r.out)
	}
	w.ok("exec", "gpu1", "--", "test", "-f", "big") // what could be copied was, beside what could not
}

// TestCopyFromAJob takes what a job has written into its folder.
func TestCopyFromAJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	w.ok("exec", "vision", "--", "mkdir", "work")
	id := strings.TrimSpace(w.ok("run", "vision", "--workdir", "work", "--", "sh", "-c", "echo done >out"))
	w.ok("job", "wait", "vision", id)
	dir := t.TempDir()
	w.ok("cp", "vision/"+id+":out", dir)
	b, err := os.ReadFile(dir + "/out")
	require.NoError(t, err)
	require.Equal(t, "done\n", string(b))
	require.Equal(t, 3, w.run("cp", "vision/99:out", dir).code)
}

// TestKilledCopyGoesOn kills the client in the middle, over a real sshd, both ways.
func TestKilledCopyGoesOn(t *testing.T) {
	t.Parallel()
	w, s := remoteWorld(t, sshdtest.Options{})
	w.ok("adopt", "gpu1", "gpu1", "--host-key", fingerprint(s))
	dir := t.TempDir()
	big := make([]byte, 200<<20)
	for i := 0; i < len(big); i += 4096 {
		big[i] = byte(i >> 12)
		big[i+1] = byte(i >> 20)
	}
	require.NoError(t, os.WriteFile(dir+"/big", big, 0o600))
	for _, c := range [][]string{{dir + "/big", "gpu1:there"}, {"gpu1:there", dir + "/back"}} {
		target := s.Home
		if c[1] == dir+"/back" {
			target = dir
		}
		cmd := w.cmd(context.Background(), "cp", c[0], c[1])
		require.NoError(t, cmd.Start())
		var size int64
		eventually(t, "some has come", func() bool {
			parts, err := filepath.Glob(target + "/.berth-*.part")
			require.NoError(t, err)
			if len(parts) != 1 {
				return false
			}
			fi, err := os.Stat(parts[0])
			if err == nil {
				size = fi.Size()
			}
			return size > 8<<20
		})
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
		require.NoFileExists(t, filepath.Join(target, filepath.Base(strings.TrimPrefix(c[1], "gpu1:"))))
		eventually(t, "nobody holds what is left", func() bool { return w.run("cp", c[0], c[1]).code == 0 })
	}
	b, err := os.ReadFile(dir + "/back")
	require.NoError(t, err)
	require.True(t, bytes.Equal(big, b))
	parts, err := filepath.Glob(dir + "/.berth-*")
	require.NoError(t, err)
	require.Empty(t, parts)
}

// TestCopyShowsHowFarItIs on a terminal.
func TestCopyShowsHowFarItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("create", "vision")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/big", make([]byte, 300<<20), 0o600))
	cmd := w.cmd(t.Context(), "cp", dir+"/big", "vision:")
	tty, err := pty.Start(cmd)
	require.NoError(t, err)
	defer tty.Close()
	var said strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := tty.Read(buf)
		said.Write(buf[:n])
		if err != nil {
			break
		}
	}
	require.NoError(t, cmd.Wait())
	require.Regexp(t, `\[#*-*\] .*MiB of 300 MiB, 0 files, .*/s, .* left`, said.String())
}

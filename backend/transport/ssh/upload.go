package ssh

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/pkg/sftp"

	"berth/backend/base/shellquote"
)

// upload copies a program to the host: to a temporary name first, checked by its hash there, then
// renamed, so that whoever finds the final name finds it whole.
func (c *Conn) upload(ctx context.Context, p *placement, b *program) error {
	dir := path.Dir(p.Program)
	tmp := path.Join(path.Dir(dir), "."+newMark()+".tmp")
	// What an upload that was cut off left behind goes with the next one.
	if _, err := c.script(ctx, fmt.Sprintf("umask 077; find %s -maxdepth 1 -name '.berth-*.tmp' -mtime +0 -exec rm -f {} + 2>/dev/null; mkdir -p %s", shellquote.Word(path.Dir(dir)), shellquote.Word(dir))); err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	err := c.uploadSFTP(ctx, tmp, b)
	if err == nil {
		err = c.settleUpload(ctx, tmp, p, b)
	}
	if err != nil && ctx.Err() == nil && c.alive() {
		c.m.o.Log.Debug("no copy by sftp", "host", c.t.where(), "error", err)
		if err = c.uploadCat(ctx, tmp, b); err == nil {
			err = c.settleUpload(ctx, tmp, p, b)
		}
	}
	if err != nil && c.alive() {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		_, _ = c.script(cleanup, "rm -f "+shellquote.Word(tmp)) // the next upload removes it otherwise
	}
	return err
}

func (c *Conn) uploadSFTP(ctx context.Context, tmp string, b *program) error {
	proc, err := c.tr.subsystem(ctx, "sftp")
	if err != nil {
		return err
	}
	defer proc.close()
	stop := context.AfterFunc(ctx, proc.close)
	defer stop()
	go func() { _, _ = io.Copy(io.Discard, proc.stderr) }() // ends with the session
	client, err := sftp.NewClientPipe(proc.stdout, proc.stdin, sftp.UseConcurrentWrites(true))
	if err != nil {
		return err
	}
	defer client.Close()
	from, err := os.Open(b.path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := client.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	if _, err = to.ReadFrom(from); err != nil {
		_ = to.Close()
		return err
	}
	return to.Close()
}

// uploadCat copies without sftp.
func (c *Conn) uploadCat(ctx context.Context, tmp string, b *program) error {
	from, err := os.Open(b.path)
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = c.scriptInput(ctx, "umask 077; cat >"+shellquote.Word(tmp), from)
	return err
}

// settleUpload checks the copy and gives it its name, mode and time. The time is that of the local
// file: a development build counts as built then.
func (c *Conn) settleUpload(ctx context.Context, tmp string, p *placement, b *program) error {
	sum, err := c.remoteHash(ctx, tmp)
	if err != nil {
		return err
	}
	if sum != b.hash {
		return fmt.Errorf("the copy differs from the original (SHA-256 %s, want %s)", sum, b.hash)
	}
	_, err = c.script(ctx, fmt.Sprintf("chmod 700 %[1]s && { TZ=UTC0 touch -t %[2]s %[1]s; mv -f %[1]s %[3]s; }",
		shellquote.Word(tmp),
		b.built.UTC().Format("200601021504.05"), shellquote.Word(p.Program)))
	return err
}

// remoteHash hashes a file on the host, by reading it back where the host has no tool for it.
func (c *Conn) remoteHash(ctx context.Context, file string) (string, error) {
	f := shellquote.Word(file)
	out, err := c.script(ctx, fmt.Sprintf("sha256sum <%[1]s 2>/dev/null || shasum -a 256 <%[1]s 2>/dev/null || openssl dgst -sha256 -r <%[1]s 2>/dev/null || echo none", f))
	if err != nil {
		return "", err
	}
	sum := firstField(out)
	if len(sum) == 2*sha256.Size {
		return sum, nil
	}
	mark := newMark()
	proc, err := c.tr.start(ctx, shellLine("echo "+mark+"; exec cat "+f), sessionOptions{})
	if err != nil {
		return "", err
	}
	defer proc.close()
	stop := context.AfterFunc(ctx, proc.close)
	defer stop()
	_ = proc.stdin.Close()
	go func() { _, _ = io.Copy(io.Discard, proc.stderr) }() // ends with the session
	content, _, _, err := afterMark(proc.stdout, mark, 256<<10)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	if _, err := io.Copy(h, content); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func firstField(s string) string {
	if f := strings.Fields(s); len(f) > 0 {
		return f[0]
	}
	return ""
}

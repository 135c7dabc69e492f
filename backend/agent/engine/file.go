package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/moby/moby/client"
)

// k8sFile is the driver of logs that Podman is told to use. A line of its files has a time, the stream, F or P, and
// what was printed; where there is an F, the end of the line was printed, too.
const k8sFile = "k8s-file"

// k8sName is what such a file is called.
const k8sName = "ctr.log"

// file opens the file that Podman keeps a container's log in; nil: it is not to be read by this user, or there is none.
// Podman itself reads it ten times slower than it writes it, and ends too early where it is told to follow.
func (o *output) file(ctx context.Context, e *engine, name string) *os.File {
	if !e.podman() {
		return nil
	}
	if o.path == "" {
		c, err := e.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
		if err != nil || filepath.Base(c.Container.LogPath) != k8sName { // what it says of its driver is always Docker's
			return nil
		}
		o.path = c.Container.LogPath
	}
	f, err := os.Open(o.path)
	if err != nil {
		return nil
	}
	return f
}

// lookAtLog is how often a log is looked at that is followed.
const lookAtLog = 50 * time.Millisecond

// copyFile copies what a container has printed from its log, with follow until ctx ends.
func copyFile(ctx context.Context, f io.Reader, w io.Writer, follow bool) error {
	r := bufio.NewReaderSize(f, 64<<10)
	out := bufio.NewWriterSize(w, 64<<10)
	var part []byte // of a line that is being written
	for {
		b, err := r.ReadSlice('\n')
		part = append(part, b...)
		switch {
		case err == nil:
			if err := writeLine(out, part); err != nil {
				return err
			}
			part = part[:0]
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			if err := out.Flush(); err != nil || !follow || ctx.Err() != nil {
				return err
			}
			pause(ctx, lookAtLog)
		default:
			return errors.Join(out.Flush(), err)
		}
	}
}

// writeLine writes what was printed, by a line of a log. What is no such line is nothing that was printed.
func writeLine(w io.Writer, line []byte) error {
	_, rest, _ := bytes.Cut(line, []byte{' '})
	_, rest, _ = bytes.Cut(rest, []byte{' '})
	kind, said, ok := bytes.Cut(rest, []byte{' '})
	switch {
	case !ok:
		return nil
	case string(kind) == "P":
		said = bytes.TrimSuffix(said, []byte{'\n'})
	case string(kind) != "F":
		return nil
	}
	_, err := w.Write(said)
	return err
}

package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/moby/moby/client"
)

// k8sFile is the driver of logs that Podman is told to use, whose files have this form: a time, the stream, F or P, what
// was printed, and an end of line, which was printed itself where there is an F.
const k8sFile = "k8s-file"

// logFile opens the file that Podman keeps a container's log in; nil: it is not to be read by this user, or there is none.
// Podman itself reads it a hundred times slower than it writes it, and ends too early where it is told to follow.
func (e *engine) logFile(ctx context.Context, name string) *os.File {
	if !e.podman() {
		return nil
	}
	c, err := e.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if err != nil || c.Container.LogPath == "" || c.Container.HostConfig == nil ||
		c.Container.HostConfig.LogConfig.Type != k8sFile {
		return nil
	}
	f, err := os.Open(c.Container.LogPath)
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

package engine

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
)

// output is the job's log, as far as the container's own words are in it. It is appended to only, and nothing else is
// written there from the container's start on: so its size says how many bytes of the container's output are there,
// whenever this program was killed.
type output struct {
	f    *os.File
	done int64 // bytes of the container's output that are in the log
	lost error // why some are not
	path string
}

// outputFrom goes on with a log that has something of a container from a size on.
func outputFrom(f *os.File, start int64) (*output, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &output{f: f, done: max(fi.Size()-start, 0)}, nil
}

// copy copies what the container prints and is not in the log yet: what there is, or with follow until its end. The
// engine is asked for all of it, and what is there already is left out.
func (o *output) copy(ctx context.Context, e *engine, name string, follow bool) error {
	if f := o.file(ctx, e, name); f != nil {
		defer f.Close()
		return copyFile(ctx, f, &rest{o: o, skip: o.done}, follow)
	}
	r, err := e.ContainerLogs(ctx, name, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Follow: follow})
	if err != nil {
		return err
	}
	defer r.Close()
	return unframe(r, &rest{o: o, skip: o.done})
}

// unframe copies what comes in frames of both streams, in their order. What has come is written before it waits for
// more.
func unframe(r io.Reader, w io.Writer) error {
	in, out := bufio.NewReaderSize(r, 64<<10), bufio.NewWriterSize(w, 64<<10)
	for {
		if in.Buffered() < frameHead {
			if err := out.Flush(); err != nil {
				return err
			}
		}
		var head [frameHead]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			if err == io.EOF {
				return out.Flush()
			}
			return errors.Join(out.Flush(), err)
		}
		n := int64(binary.BigEndian.Uint32(head[4:]))
		if kind := stdcopy.StdType(head[0]); kind == stdcopy.Systemerr {
			b, _ := io.ReadAll(io.LimitReader(in, min(n, 1000)))
			return errors.Join(out.Flush(), fmt.Errorf("the engine says: %s", b))
		} else if kind > stdcopy.Systemerr {
			return errors.Join(out.Flush(), fmt.Errorf("a frame of kind %d", kind))
		}
		if _, err := io.CopyN(out, in, n); err != nil {
			return errors.Join(out.Flush(), err)
		}
	}
}

// frameHead is how long what comes before each frame is: its stream, and in the last four bytes its length.
const frameHead = 8

// rest writes to a log what comes after the first bytes.
type rest struct {
	o    *output
	skip int64
}

// Pauses between tries to write to a log whose disk is full, and for how long.
const (
	fullPause = time.Second
	fullMost  = time.Minute
)

// Write implements io.Writer. What can't be written for long is left out, as it is where a job itself writes: the
// container must not be held up for ever.
func (r *rest) Write(p []byte) (int, error) {
	all := len(p)
	if r.skip >= int64(all) {
		r.skip -= int64(all)
		return all, nil
	}
	p, r.skip = p[r.skip:], 0
	for began := time.Now(); len(p) > 0; {
		n, err := r.o.f.Write(p)
		r.o.done += int64(n)
		p = p[n:]
		if err == nil {
			continue
		}
		if r.o.lost != nil || time.Since(began) > fullMost {
			r.o.lost = fmt.Errorf("its log is not whole: %w", err)
			r.o.done += int64(len(p))
			return all, nil
		}
		time.Sleep(fullPause)
	}
	return all, nil
}

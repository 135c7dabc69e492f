package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/dustin/go-humanize"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/client"

	"berth/backend/base/plaintext"
)

const (
	// pullTries is how often a pull is tried that is cut, with pullPause before the second one, and twice that before the
	// next. What an engine has of an image it does not fetch again.
	pullTries = 3
	pullPause = time.Second
	// sayEvery is how often a pull says how far it is: what it says is read in a log.
	sayEvery = 5 * time.Second
)

// named reads the name of an image. Its error is a problem.
func named(image string) (reference.Named, error) {
	ref, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return nil, &problem{message: fmt.Sprintf("%.100q is no name of an image: %v", image, err),
			hint: "say it as python:3.12 or ghcr.io/owner/image:tag", usage: true}
	}
	return reference.TagNameOnly(ref), nil
}

// ensure pulls an image, unless the engine has it. say gets lines for the log.
func (e *engine) ensure(ctx context.Context, image string, tries int, auth credentials,
	say func(string, ...any)) error {
	ref, err := named(image)
	if err != nil {
		return err
	}
	_, err = e.ImageInspect(ctx, image)
	if err == nil || !errdefs.IsNotFound(err) {
		return err
	}
	if tries == 0 {
		tries = pullTries
	}
	say("pulling %s", ref)
	began := time.Now()
	for pause := pullPause; ; pause *= 2 {
		err := e.pull(ctx, ref, auth, say)
		if err == nil {
			say("pulled %s in %s", ref, time.Since(began).Round(time.Second/10))
			return nil
		}
		if tries--; ctx.Err() != nil || tries <= 0 || forGood(err) {
			return &pullError{ref.String(), err}
		}
		say("pulling %s was cut (%s); trying again", ref, plaintext.Short(err.Error(), 200))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// pullError is why an image can't be had.
type pullError struct {
	image string
	err   error
}

func (p *pullError) Error() string { return "pulling " + p.image + ": " + p.err.Error() }

func (p *pullError) Unwrap() error { return p.err }

// pull pulls an image once.
func (e *engine) pull(ctx context.Context, ref reference.Named, auth credentials, say func(string, ...any)) error {
	header, err := auth.header(ctx, reference.Domain(ref))
	if err != nil {
		say("the credentials for %s can't be read, pulling without: %v", reference.Domain(ref), err)
	}
	res, err := e.ImagePull(ctx, ref.String(), client.ImagePullOptions{RegistryAuth: header})
	if err != nil {
		return err
	}
	defer res.Close()
	p := pulled{layers: map[string]layer{}}
	last := time.Now()
	for m, err := range res.JSONMessages(ctx) {
		switch {
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case m.Error != nil:
			return m.Error
		}
		p.take(m)
		if now := time.Now(); now.Sub(last) >= sayEvery {
			last = now
			say("pulling %s: %s", ref, p)
		}
	}
	// A stream that ends early looks as one that is done.
	if _, err := e.ImageInspect(ctx, ref.String()); err != nil {
		if errdefs.IsNotFound(err) {
			return fmt.Errorf("the engine's answer ended in the middle (%s)", p)
		}
		return err
	}
	return nil
}

// forGood reports an error that another try does not mend. What comes in the stream of a pull is words only.
func forGood(err error) bool {
	if errdefs.IsNotFound(err) || errdefs.IsUnauthorized(err) || errdefs.IsPermissionDenied(err) ||
		errdefs.IsInvalidArgument(err) {
		return true
	}
	text := strings.ToLower(err.Error())
	for _, s := range []string{"manifest unknown", "not found", "name unknown", "name invalid", "unauthorized", "denied",
		"authentication required", "no matching manifest", "no space left"} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

// pulled is how far a pull is.
type pulled struct {
	layers map[string]layer
}

type layer struct {
	now, all int64
	done     bool
}

func (p pulled) take(m jsonstream.Message) {
	const most = 10_000 // layers: what an engine says is not trusted
	if m.ID == "" || len(p.layers) >= most {
		return
	}
	l := p.layers[m.ID]
	switch status := strings.ToLower(m.Status); {
	case strings.HasPrefix(status, "pulling from"):
		return // its ID is the tag
	case strings.Contains(status, "complete"), strings.Contains(status, "already exists"):
		l.done = true
	case m.Progress != nil && strings.HasPrefix(status, "downloading"):
		l.now, l.all = m.Progress.Current, max(m.Progress.Total, m.Progress.Current)
	}
	p.layers[m.ID] = l
}

func (p pulled) String() string {
	var now, all int64
	done := 0
	for _, l := range p.layers {
		if l.done {
			done++
			l.now = l.all
		}
		now, all = now+l.now, all+l.all
	}
	s := fmt.Sprintf("%d of %d layers", done, len(p.layers))
	if all > 0 {
		s += fmt.Sprintf(", %s of %s", humanize.Bytes(uint64(max(now, 0))), humanize.Bytes(uint64(max(all, 0))))
	}
	return s
}

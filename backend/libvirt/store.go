package libvirt

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	golibvirt "github.com/digitalocean/go-libvirt"
)

// The pool has no names that change in one step. What is whole is marked by a second volume, a small JSON
// document that is written last: a volume without one was cut off and is written again. The names of what
// comes from a catalogue carry the SHA-256 of the bytes, so that two who write the same volume at once
// write the same bytes to the same places.

// sidecar is the document that marks a volume as whole and says what it is.
type sidecar struct {
	Volume  string `json:"volume"`
	Format  string `json:"format,omitempty"` // qcow2 or raw
	Bytes   int64  `json:"bytes,omitempty"`
	Virtual int64  `json:"virtual,omitempty"` // the disk's size, in bytes
	SHA256  string `json:"sha256,omitempty"`

	// Of an image that was made from a machine.
	Name        string    `json:"name,omitempty"`
	Description string    `json:"description,omitempty"`
	User        string    `json:"user,omitempty"`
	Arch        string    `json:"arch,omitempty"`
	Source      string    `json:"source,omitempty"`
	Token       string    `json:"token,omitempty"` // of the machine
	Profiles    []string  `json:"profiles,omitempty"`
	BuiltAt     time.Time `json:"built_at,omitzero"`
	Kernel      string    `json:"kernel,omitempty"`
	Initrd      string    `json:"initrd,omitempty"`
	Cmdline     string    `json:"cmdline,omitempty"`
}

// parseSidecar reads a sidecar; ok is false if it is not whole.
func parseSidecar(b []byte) (sidecar, bool) {
	var s sidecar
	if json.Unmarshal(bytes.TrimRight(b, "\x00"), &s) != nil || s.Volume == "" {
		return sidecar{}, false
	}
	return s, true
}

const sidecarEnd = ".json"

// sidecarLimit bounds what is read of a sidecar, in bytes.
const sidecarLimit = 1 << 20

// sidecars keeps what was read of sidecars, which never change.
type sidecars struct {
	mu sync.Mutex
	m  map[string]sidecar
}

// sidecar reads the sidecar of that name; ok is false if it is not there or not whole, or what it marks is
// not there.
func (b *Backend) sidecar(ctx context.Context, p pool, name string) (sidecar, bool, error) {
	vol, ok, err := b.volume(ctx, p, name)
	if err != nil || !ok {
		return sidecar{}, false, err
	}
	key := p.path + "/" + name
	b.marks.mu.Lock()
	s, ok := b.marks.m[key]
	b.marks.mu.Unlock()
	if ok {
		_, ok, err = b.volume(ctx, p, s.Volume) // it may have been removed by others
		return s, ok, err
	}
	text, err := b.download(ctx, vol, 0, sidecarLimit)
	if isGone(err) || says(err, "No such file") {
		return s, false, nil // the file was removed by others
	}
	if err != nil {
		return s, false, err
	}
	if s, ok = parseSidecar(text); ok {
		b.marks.mu.Lock()
		if b.marks.m == nil {
			b.marks.m = map[string]sidecar{}
		}
		b.marks.m[key] = s
		b.marks.mu.Unlock()
		_, ok, err = b.volume(ctx, p, s.Volume)
	}
	return s, ok, err
}

// writeSidecar marks a volume as whole.
func (b *Backend) writeSidecar(ctx context.Context, p pool, name string, s sidecar) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", name, err)
	}
	vol, fresh, err := b.makeVolume(ctx, p, volSpec{name: name, bytes: int64(len(text)), format: "raw"})
	if err != nil {
		return err
	}
	if !fresh {
		// One that was cut off may be longer: the rest of the file is blanked.
		i, err := b.volumeInfo(ctx, vol)
		if err != nil {
			return err
		}
		text = append(text, bytes.Repeat([]byte{' '}, int(max(0, min(sidecarLimit, i.capacity)-int64(len(text)))))...)
	}
	return b.upload(ctx, vol, bytes.NewReader(text), int64(len(text)))
}

// place puts a file into the pool as the volume name, unless it is there whole.
func (b *Backend) place(ctx context.Context, p pool, name, file string, s sidecar, say func(done int64)) error {
	unlock, err := b.locks.lock(ctx, "volume "+name)
	if err != nil {
		return err
	}
	defer unlock()
	if _, ok, err := b.sidecar(ctx, p, name+sidecarEnd); err != nil || ok {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("reading the image: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return fmt.Errorf("reading the image: %w", err)
	}
	if err := b.space(ctx, p, fi.Size(), 0); err != nil {
		return err
	}
	// Raw, so that libvirt takes the bytes as they are.
	vol, _, err := b.makeVolume(ctx, p, volSpec{name: name, bytes: fi.Size(), format: "raw"})
	if err != nil {
		return err
	}
	if err := b.upload(ctx, vol, &counted{r: f, say: say}, fi.Size()); err != nil {
		return err
	}
	s.Volume, s.Bytes = name, fi.Size()
	return b.writeSidecar(ctx, p, name+sidecarEnd, s)
}

// counted reports how much was read.
type counted struct {
	r    io.Reader
	n    int64
	say  func(done int64)
	last time.Time
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if now := time.Now(); c.say != nil && (err != nil || now.Sub(c.last) >= 100*time.Millisecond) {
		c.last = now
		c.say(c.n)
	}
	return n, err
}

// removeMarked removes a volume and its sidecar, that first: what has none is not whole.
func (b *Backend) removeMarked(ctx context.Context, p pool, name, mark string) error {
	b.marks.mu.Lock()
	delete(b.marks.m, p.path+"/"+mark)
	b.marks.mu.Unlock()
	if err := b.removeVolume(ctx, p, mark); err != nil {
		return err
	}
	return b.removeVolume(ctx, p, name)
}

// The volumes of images.
const (
	basePrefix = "berth-base."  // of a catalogue: berth-base.SHA.qcow2
	bootPrefix = "berth-boot."  // kernels and initrds: berth-boot.SHA
	madePrefix = "berth-image." // made from a machine: berth-image.NAME.STAMP.qcow2
)

// builtNames finds the sidecars of images that were made from machines: by the image's name, the newest
// first.
func builtNames(vols []golibvirt.StorageVol) map[string][]string {
	out := map[string][]string{}
	for _, v := range vols {
		rest, ok := strings.CutPrefix(v.Name, madePrefix)
		rest, isMark := strings.CutSuffix(rest, sidecarEnd)
		i := strings.LastIndexByte(rest, '.')
		if !ok || !isMark || i <= 0 {
			continue
		}
		out[rest[:i]] = append(out[rest[:i]], v.Name)
	}
	for _, names := range out {
		sortDown(names)
	}
	return out
}

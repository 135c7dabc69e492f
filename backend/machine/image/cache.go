package image

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/google/renameio/v2"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/flock"
)

// Cache keeps fetched images in a folder, which several processes may share. Its zero Client and limits
// are the usual ones.
type Cache struct {
	Dir    string
	Client *http.Client  // nil: proxies of the environment, TLS 1.2 or newer
	Tries  int           // attempts in a row that bring nothing before it gives up; 0: 5
	Pause  time.Duration // before the second attempt, doubled each time; 0: 1 s
	Idle   time.Duration // how long a transfer may stand still; 0: 1 min

	free func(dir string) (int64, error) // for tests
}

// File is an image on this host that was checked.
type File struct {
	Path   string
	SHA256 string // of the file
	Info   Info
}

// record says what lies in the cache for an entry, or of which file a digest was taken.
type record struct {
	Source    string    `json:"source"`
	Checksums string    `json:"checksums,omitempty"`
	File      string    `json:"file"` // relative to the cache, or absolute for an entry's own path
	SHA256    string    `json:"sha256"`
	SHA512    string    `json:"sha512"`
	Bytes     int64     `json:"bytes"`
	ModTime   time.Time `json:"mod_time"`
	Inode     uint64    `json:"inode"`
	FetchedAt time.Time `json:"fetched_at"`
}

// margin is left free on the cache's file system.
const margin = 64 << 20

func (c Cache) base(e Entry) string { return filepath.Join(c.Dir, e.Name+"-"+e.Arch) }

// Fetch returns the entry's image, checked: the file of its path, what lies in the cache, or what it
// fetches. An image that is there is used as it is, without asking its vendor for a newer one; Remove
// makes room for that. A transfer that was cut off goes on where it was, also in a later call. Codes:
// not_found, unreachable, refused (checksum, or an image that refers to other files), failed (space).
func (c Cache) Fetch(ctx context.Context, e Entry, say func(backend.Progress)) (File, error) {
	if say == nil {
		say = func(backend.Progress) {}
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return File{}, api.Errorf(api.CodeFailed, "making the image cache: %w", err)
	}
	if f, ok := c.Cached(e); ok {
		return f, nil
	}
	unlock, err := c.lock(ctx, e, say)
	if err != nil {
		return File{}, err
	}
	defer unlock()
	if f, ok := c.Cached(e); ok { // another process was faster
		return f, nil
	}
	if e.Path != "" {
		return c.verify(ctx, e, say)
	}
	return c.fetch(ctx, e, say)
}

// Cached returns the entry's image if it is there and was checked, without reading it again.
func (c Cache) Cached(e Entry) (File, bool) {
	var r record
	b, err := os.ReadFile(c.base(e) + ".json")
	if err != nil || json.Unmarshal(b, &r) != nil || r.Source != e.Source() || r.Checksums != e.Checksums {
		return File{}, false
	}
	if e.SHA256 != "" && !strings.EqualFold(e.SHA256, r.SHA256) || e.SHA512 != "" && !strings.EqualFold(e.SHA512,
		r.SHA512) {
		return File{}, false
	}
	p := r.File
	if e.Path == "" {
		if p != filepath.Base(p) {
			return File{}, false
		}
		p = filepath.Join(c.Dir, p)
	}
	fi, err := os.Stat(p)
	if err != nil || fi.Size() != r.Bytes || !fi.ModTime().Equal(r.ModTime) || inode(fi) != r.Inode {
		return File{}, false
	}
	info, err := Inspect(p)
	if err != nil {
		return File{}, false
	}
	return File{Path: p, SHA256: r.SHA256, Info: info}, true
}

// Remove takes the entry's image out of the cache, with what of it was fetched in part. A file that the
// entry names by its path stays.
func (c Cache) Remove(ctx context.Context, e Entry) error {
	if _, err := os.Stat(c.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := c.lock(ctx, e, func(backend.Progress) {})
	if err != nil {
		return err
	}
	defer unlock()
	files := []string{c.base(e) + ".json", c.base(e) + ".part", c.base(e) + ".part.json"}
	if e.Path == "" {
		files = append(files, c.base(e)+".img")
	}
	var errs []error
	for _, f := range files {
		errs = append(errs, removeIfThere(f))
	}
	return errors.Join(errs...)
}

// lock keeps other processes from fetching the same image.
func (c Cache) lock(ctx context.Context, e Entry, say func(backend.Progress)) (func(), error) {
	f, err := os.OpenFile(c.base(e)+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, api.Errorf(api.CodeFailed, "locking the image cache: %w", err)
	}
	err = flock.Wait(ctx, f, func() { say(backend.Progress{What: "waiting for another Berth that fetches " + e.Name}) })
	switch {
	case err == nil:
		return func() { _ = f.Close() }, nil
	case ctx.Err() != nil:
		err = fmt.Errorf("waiting for another Berth that fetches %s: %w", e.Name, err)
	default:
		err = api.Errorf(api.CodeFailed, "locking the image cache %s: %w", c.Dir, err)
	}
	_ = f.Close()
	return nil, err
}

// verify checks the file of an entry's path where it is, once for each state of the file.
func (c Cache) verify(ctx context.Context, e Entry, say func(backend.Progress)) (File, error) {
	fi, err := os.Stat(e.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return File{}, api.Errorf(api.CodeFailed, "the image %s: %w", e.Name, err)
	} else if err != nil {
		return File{}, api.Errorf(api.CodeFailed, "the image %s: %w", e.Name, err)
	}
	info, err := Inspect(e.Path)
	if err != nil {
		return File{}, api.Errorf(api.CodeFailed, "the image %s: %w", e.Name, err)
	}
	s256, s512, err := digests(ctx, e, e.Path, say)
	if err != nil {
		return File{}, err
	}
	if err := compare(e, e.SHA256, e.SHA512, s256, s512); err != nil {
		return File{}, err
	}
	after, err := os.Stat(e.Path)
	if err != nil || after.Size() != fi.Size() || !after.ModTime().Equal(fi.ModTime()) || inode(after) != inode(fi) {
		return File{}, api.Errorf(api.CodeConflict, "the image %s: %s was changed while it was checked", e.Name, e.Path)
	}
	return c.note(e, e.Path, e.Path, s256, s512, info)
}

func (c Cache) note(e Entry, p, name, s256, s512 string, info Info) (File, error) {
	fi, err := os.Stat(p)
	if err != nil {
		return File{}, err
	}
	b, err := json.Marshal(record{Source: e.Source(), Checksums: e.Checksums, File: name, SHA256: s256, SHA512: s512,
		Bytes: fi.Size(), ModTime: fi.ModTime(), Inode: inode(fi), FetchedAt: time.Now().UTC()})
	if err == nil {
		err = renameio.WriteFile(c.base(e)+".json", b, 0o644)
	}
	if err != nil {
		return File{}, api.Errorf(api.CodeFailed, "noting the image %s in the cache: %w", e.Name, err)
	}
	return File{Path: p, SHA256: s256, Info: info}, nil
}

// fetch brings the image into the cache; the lock is held.
func (c Cache) fetch(ctx context.Context, e Entry, say func(backend.Progress)) (File, error) {
	want256, want512 := e.SHA256, e.SHA512
	if want256 == "" && want512 == "" {
		digest, err := c.vendorDigest(ctx, e)
		if err != nil {
			return File{}, err
		}
		if len(digest) == 64 {
			want256 = digest
		} else {
			want512 = digest
		}
	}
	part := c.base(e) + ".part"
	if err := c.download(ctx, e, part, say); err != nil {
		return File{}, err
	}
	s256, s512, err := digests(ctx, e, part, say)
	if err != nil {
		return File{}, err
	}
	drop := func(err error) (File, error) {
		return File{}, errors.Join(err, removeIfThere(part), removeIfThere(part+".json"))
	}
	if err := compare(e, want256, want512, s256, s512); err != nil {
		return drop(err)
	}
	info, err := Inspect(part)
	if err == nil {
		err = info.SelfContained()
	}
	if err != nil {
		return drop(api.Errorf(api.CodeFailed, "the image %s from %s: %w", e.Name, e.URL, err).
			WithHint("it was deleted; an image must be one file of its own"))
	}
	final := c.base(e) + ".img"
	if err := os.Rename(part, final); err != nil {
		return File{}, api.Errorf(api.CodeFailed, "keeping the image %s: %w", e.Name, err)
	}
	if err := removeIfThere(part + ".json"); err != nil {
		return File{}, err
	}
	return c.note(e, final, filepath.Base(final), s256, s512, info)
}

func removeIfThere(p string) error {
	if err := os.Remove(p); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// digests reads a file once for both.
func digests(ctx context.Context, e Entry, p string, say func(backend.Progress)) (s256, s512 string, err error) {
	f, err := os.Open(p)
	if err != nil {
		return "", "", api.Errorf(api.CodeFailed, "checking the image %s: %w", e.Name, err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return "", "", err
	}
	a, b := sha256.New(), sha512.New()
	w := &progress{ctx: ctx, say: say, p: backend.Progress{What: "checking " + e.Name, Total: fi.Size()}}
	if _, err := io.CopyBuffer(io.MultiWriter(a, b, w), struct{ io.Reader }{f}, make([]byte, 1<<20)); err != nil {
		return "", "", api.Errorf(api.CodeFailed, "checking the image %s: %w", e.Name, err)
	}
	return hex.EncodeToString(a.Sum(nil)), hex.EncodeToString(b.Sum(nil)), nil
}

func compare(e Entry, want256, want512, s256, s512 string) error {
	for _, d := range []struct{ kind, want, have string }{{"SHA-256", want256, s256}, {"SHA-512", want512, s512}} {
		if d.want == "" || strings.EqualFold(d.want, d.have) {
			continue
		}
		err := api.Errorf(api.CodeFailed, "the image %s from %s has a wrong checksum: its %s is %s; expected was %s", e.Name,
			e.Source(), d.kind, d.have, strings.ToLower(d.want))
		if e.Path != "" {
			return err.WithHint("the file was changed or damaged; correct it, or its checksum in the catalogue")
		}
		return err.WithHint("it was deleted; a second try fetches it anew. If that fails too, the vendor has put another file there")
	}
	return nil
}

// vendorDigest finds the image in the vendor's list of checksums.
func (c Cache) vendorDigest(ctx context.Context, e Entry) (string, error) {
	var text []byte
	err := c.retry(ctx, nil, func() (bool, error) {
		var err error
		text, err = c.getSmall(ctx, e.Checksums)
		return false, err
	})
	if err != nil {
		return "", wrapFetch(err, "fetching the checksums of the image %s from %s", e.Name, e.Checksums)
	}
	digest, err := parseChecksums(string(text), path.Base(e.URL))
	if err != nil {
		return "", api.Errorf(api.CodeFailed, "the checksums of the image %s from %s: %w", e.Name, e.Checksums, err).
			WithHint("without a checksum nothing is fetched; the vendor may have renamed the image")
	}
	return digest, nil
}

// roomFor fails if so many bytes do not fit into the cache.
func (c Cache) roomFor(e Entry, n int64) error {
	free := c.free
	if free == nil {
		free = freeBytes
	}
	have, err := free(c.Dir)
	if err != nil {
		return api.Errorf(api.CodeFailed, "asking for the free space of %s: %w", c.Dir, err)
	}
	if have < n+margin {
		return api.Errorf(api.CodeFailed, "the image %s needs %s more in %s, where %s are free", e.Name,
			humanize.IBytes(uint64(n+margin)), c.Dir, humanize.IBytes(uint64(max(have, 0)))).
			WithHint("make room there, or remove images that are not used: berth image rm NAME")
	}
	return nil
}

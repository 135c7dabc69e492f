package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/api"
)

// vendor is a server with one image. Its hooks change what it does with the nth request for it.
type vendor struct {
	*httptest.Server
	mu sync.Mutex
	served
	hook   func(n int, w http.ResponseWriter, r *http.Request) bool // true: it answered
	ranges []string                                                 // of the requests for the image
	sums   string
}

type served struct {
	image    []byte
	etag     string
	noRanges bool
}

func content(seed byte, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{seed})
	_, _ = r.Read(b)
	return b
}

func newVendor(t *testing.T, image []byte) *vendor {
	t.Helper()
	v := &vendor{served: served{image: image, etag: `"v1"`}}
	v.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if r.URL.Path == "/SUMS" {
			_, _ = w.Write([]byte(v.sums))
			return
		}
		if r.URL.Path != "/box.qcow2" {
			http.NotFound(w, r)
			return
		}
		v.ranges = append(v.ranges, r.Header.Get("Range"))
		if v.hook != nil && v.hook(len(v.ranges), w, r) {
			return
		}
		if v.etag != "" {
			w.Header().Set("ETag", v.etag)
		}
		if v.noRanges {
			w.Header().Set("Content-Length", fmt.Sprint(len(v.image)))
			_, _ = w.Write(v.image)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(v.image))
	}))
	t.Cleanup(v.Close)
	return v
}

func (v *vendor) entry() Entry {
	return Entry{Name: "box", Arch: "amd64", User: "ada", URL: v.URL + "/box.qcow2", SHA256: sum256(v.image)}
}

// cut sends the head of an answer and closes the line.
func (v *vendor) cut(w http.ResponseWriter, from, to int) {
	w.Header().Set("ETag", v.etag)
	w.Header().Set("Content-Length", fmt.Sprint(len(v.image)-from))
	if from > 0 {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(v.image)-1, len(v.image)))
		w.WriteHeader(http.StatusPartialContent)
	}
	_, _ = w.Write(v.image[from:to])
	panic(http.ErrAbortHandler)
}

func sum256(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
func sum512(b []byte) string { s := sha512.Sum512(b); return hex.EncodeToString(s[:]) }

func newCache(t *testing.T) Cache {
	return Cache{Dir: filepath.Join(t.TempDir(), "images"), Pause: time.Millisecond, Idle: 20 * time.Second}
}

func leftovers(t *testing.T, c Cache) []string {
	t.Helper()
	var out []string
	files, err := os.ReadDir(c.Dir)
	require.NoError(t, err)
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".lock") {
			out = append(out, f.Name())
		}
	}
	return out
}

func TestFetchOnceAndKeep(t *testing.T) {
	v := newVendor(t, content(1, 3<<20))
	c := newCache(t)
	_, ok := c.Cached(v.entry())
	require.False(t, ok)
	var last backend.Progress
	f, err := c.Fetch(t.Context(), v.entry(), func(p backend.Progress) {
		if p.What == "fetching box" {
			last = p
		}
	})
	require.NoError(t, err)
	require.Equal(t, backend.Progress{What: "fetching box", Done: 3 << 20, Total: 3 << 20}, last)
	require.Equal(t, File{Path: filepath.Join(c.Dir, "box-amd64.img"), SHA256: sum256(v.image), Info: Info{Format: "raw",
		VirtualBytes: 3 << 20, FileBytes: 3 << 20}}, f)
	b, err := os.ReadFile(f.Path)
	require.NoError(t, err)
	require.Equal(t, v.image, b)
	require.Equal(t, []string{"box-amd64.img", "box-amd64.json"}, leftovers(t, c))

	v.Close()
	again, err := c.Fetch(t.Context(), v.entry(), nil)
	require.NoError(t, err, "the vendor is not asked again")
	require.Equal(t, f, again)

	other := v.entry()
	other.SHA256 = strings.Repeat("0", 64)
	_, ok = c.Cached(other)
	require.False(t, ok, "the catalogue wants another file by now")
	require.NoError(t, os.WriteFile(f.Path, content(9, 3<<20), 0o644))
	_, ok = c.Cached(v.entry())
	require.False(t, ok, "it was changed behind our back")
	require.NoError(t, c.Remove(t.Context(), v.entry()))
	require.Empty(t, leftovers(t, c))
	require.NoError(t, c.Remove(t.Context(), v.entry()))
	_, err = c.Fetch(t.Context(), v.entry(), nil)
	require.ErrorIs(t, err, backend.ErrUnreachable)
	require.NotEmpty(t, api.AsError(err).Hint)
}

func TestFetchByTheVendorsList(t *testing.T) {
	v := newVendor(t, content(1, 1<<20))
	e := v.entry()
	e.SHA256, e.Checksums = "", v.URL+"/SUMS"
	for _, sums := range []string{
		sum512(v.image) + "  box.qcow2\n", sum256(v.image) + " *box.qcow2\n", "SHA256 (box.qcow2) = " + sum256(v.image) +
			"\n",
	} {
		v.sums = strings.Repeat("1", 64) + "  other.img\n" + sums
		f, err := newCache(t).Fetch(t.Context(), e, nil)
		require.NoError(t, err)
		require.Equal(t, sum256(v.image), f.SHA256)
	}
	v.sums = strings.Repeat("1", 128) + "  box.qcow2\n"
	c := newCache(t)
	_, err := c.Fetch(t.Context(), e, nil)
	require.Equal(t, api.CodeFailed, api.AsError(err).Code)
	require.ErrorContains(t, err, sum512(v.image))
	require.ErrorContains(t, err, strings.Repeat("1", 128))
	require.Empty(t, leftovers(t, c), "a file with a wrong checksum is not kept")
	v.sums = "<html>nothing here</html>"
	_, err = c.Fetch(t.Context(), e, nil)
	require.Equal(t, api.CodeFailed, api.AsError(err).Code)
	require.ErrorContains(t, err, "no SHA-256 or SHA-512 checksum for box.qcow2")
	e.Checksums = v.URL + "/GONE"
	_, err = c.Fetch(t.Context(), e, nil)
	require.Equal(t, api.CodeFailed, api.AsError(err).Code)
}

func TestCutTransfersGoOn(t *testing.T) {
	v := newVendor(t, content(2, 4<<20))
	v.hook = func(n int, w http.ResponseWriter, r *http.Request) bool {
		switch n {
		case 1:
			v.cut(w, 0, 2<<20)
		case 2:
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return true
		}
		return false
	}
	f, err := newCache(t).Fetch(t.Context(), v.entry(), nil)
	require.NoError(t, err)
	require.Equal(t, sum256(v.image), f.SHA256)
	require.Len(t, v.ranges, 3)
	require.Empty(t, v.ranges[0])
	require.Regexp(t, `^bytes=[1-9]\d+-$`, v.ranges[2], "it goes on where it was")
}

func TestALaterCallGoesOn(t *testing.T) {
	v := newVendor(t, content(3, 4<<20))
	v.hook = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n == 1 {
			v.cut(w, 0, 3<<20)
		}
		http.Error(w, "down", http.StatusBadGateway)
		return true
	}
	c := newCache(t)
	c.Tries = 3
	said := map[string]bool{}
	_, err := c.Fetch(t.Context(), v.entry(), func(p backend.Progress) { said[p.What] = true })
	require.ErrorIs(t, err, backend.ErrUnreachable)
	require.Contains(t, slices.Collect(maps.Keys(said)),
		"fetching box: the server answered 502 Bad Gateway; attempt 3 of 3 in 4ms")
	require.ErrorContains(t, err, "502")
	require.ErrorContains(t, err, "3 attempts")
	require.Len(t, v.ranges, 4, "the one that brought something is not counted")
	v.hook = nil
	_, err = c.Fetch(t.Context(), v.entry(), nil)
	require.NoError(t, err)
	require.Regexp(t, `^bytes=[1-9]\d+-$`, v.ranges[4])
}

func TestServersWithoutRangesAndChangedFiles(t *testing.T) {
	for name, change := range map[string]func(v *served){
		"without ranges": func(v *served) { v.noRanges = true },
		"changed":        func(v *served) { v.image, v.etag = content(5, 3<<20+17), `"v2"` },
		"shorter":        func(v *served) { v.image, v.etag = content(5, 1<<20), `"v2"` },
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t, content(4, 4<<20))
			v.hook = func(n int, w http.ResponseWriter, r *http.Request) bool {
				if n == 1 {
					defer change(&v.served)
					v.cut(w, 0, 2<<20)
				}
				return false
			}
			e := v.entry()
			e.SHA256, e.Checksums = "", v.URL+"/SUMS"
			probe := v.served
			change(&probe)
			v.sums = sum256(probe.image) + "  box.qcow2"
			f, err := newCache(t).Fetch(t.Context(), e, nil)
			require.NoError(t, err)
			b, err := os.ReadFile(f.Path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(v.image, b), "nothing of the first file is left in it")
		})
	}
}

// TestALyingServer sends another part than was asked for.
func TestALyingServer(t *testing.T) {
	v := newVendor(t, content(6, 4<<20))
	v.hook = func(n int, w http.ResponseWriter, r *http.Request) bool {
		switch n {
		case 1:
			v.cut(w, 0, 2<<20)
		case 2:
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 7-9/%d", len(v.image)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write([]byte("abc"))
			return true
		}
		return false
	}
	_, err := newCache(t).Fetch(t.Context(), v.entry(), nil)
	require.NoError(t, err)
	require.Empty(t, v.ranges[2], "it begins anew")
}

func TestFinalAnswers(t *testing.T) {
	v := newVendor(t, content(7, 1<<20))
	e := v.entry()
	e.URL = v.URL + "/gone.qcow2"
	_, err := newCache(t).Fetch(t.Context(), e, nil)
	require.Equal(t, api.CodeFailed, api.AsError(err).Code)
	require.ErrorContains(t, err, "404")
	v.hook = func(n int, w http.ResponseWriter, r *http.Request) bool {
		http.Error(w, "no", http.StatusForbidden)
		return true
	}
	_, err = newCache(t).Fetch(t.Context(), v.entry(), nil)
	require.ErrorIs(t, err, backend.ErrAuth)
	require.Len(t, v.ranges, 1, "it is not tried again")
}

func TestHangsEnd(t *testing.T) {
	hang := func(n int, w http.ResponseWriter, r *http.Request) bool {
		_, _ = w.Write([]byte("x"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return true
	}
	v := newVendor(t, content(8, 1<<20))
	v.hook = hang
	ctx, cancel := context.WithCancel(t.Context())
	c := newCache(t)
	_, err := c.Fetch(ctx, v.entry(), func(p backend.Progress) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
	c.Idle, c.Tries = 50*time.Millisecond, 2
	_, err = c.Fetch(t.Context(), v.entry(), nil)
	require.ErrorIs(t, err, backend.ErrUnreachable)
	require.ErrorContains(t, err, "stands still")
}

func TestNoRoom(t *testing.T) {
	v := newVendor(t, content(9, 1<<20))
	c := newCache(t)
	c.free = func(string) (int64, error) { return margin + 1<<20 - 1, nil }
	_, err := c.Fetch(t.Context(), v.entry(), nil)
	require.ErrorContains(t, err, "needs 65 MiB more in "+c.Dir)
	require.Equal(t, api.CodeFailed, api.AsError(err).Code)
	c.free = func(string) (int64, error) { return margin + 1<<20, nil }
	_, err = c.Fetch(t.Context(), v.entry(), nil)
	require.NoError(t, err)
}

func TestImagesThatReferToOtherFilesAreRefused(t *testing.T) {
	for name, image := range map[string][]byte{
		"backing file":         qcow(func(h []byte) { putBacking(h, "/etc/shadow") }),
		"data in another file": qcow(func(h []byte) { h[79] = incompatExternal }),
		"encrypted":            qcow(func(h []byte) { h[35] = 2 }),
	} {
		v := newVendor(t, image)
		c := newCache(t)
		_, err := c.Fetch(t.Context(), v.entry(), nil)
		require.Equal(t, api.CodeFailed, api.AsError(err).Code, name)
		require.Empty(t, leftovers(t, c))
	}
}

func TestPathsAreVerifiedInPlace(t *testing.T) {
	c := newCache(t)
	p := filepath.Join(t.TempDir(), "own.qcow2")
	image := qcow(nil)
	require.NoError(t, os.WriteFile(p, image, 0o644))
	e := Entry{Name: "own", Arch: "amd64", User: "ada", Path: p, SHA256: strings.ToUpper(sum256(image))}
	f, err := c.Fetch(t.Context(), e, nil)
	require.NoError(t, err)
	require.Equal(t, p, f.Path)
	require.Equal(t, Info{Format: "qcow2", VirtualBytes: 1 << 30, FileBytes: int64(len(image))}, f.Info)
	checked := 0
	_, err = c.Fetch(t.Context(), e, func(backend.Progress) { checked++ })
	require.NoError(t, err)
	require.Zero(t, checked, "it is not read again")
	require.NoError(t, c.Remove(t.Context(), e))
	require.FileExists(t, p)
	e.SHA256 = strings.Repeat("0", 64)
	_, err = c.Fetch(t.Context(), e, nil)
	require.Equal(t, api.CodeFailed, api.AsError(err).Code)
	require.FileExists(t, p, "what is the user's is never deleted")
	e.Path = filepath.Join(t.TempDir(), "none")
	_, err = c.Fetch(t.Context(), e, nil)
	require.Equal(t, api.CodeFailed, api.AsError(err).Code)
}

func TestTwoFetchOnce(t *testing.T) {
	v := newVendor(t, content(10, 2<<20))
	c := newCache(t)
	var wg sync.WaitGroup
	var failed atomic.Int32
	for range 5 {
		wg.Go(func() {
			if _, err := c.Fetch(t.Context(), v.entry(), nil); err != nil {
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	require.Zero(t, failed.Load())
	require.Len(t, v.ranges, 1)
	unlock, err := c.lock(t.Context(), v.entry(), nil)
	require.NoError(t, err)
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	said := ""
	e := v.entry()
	e.SHA256 = strings.Repeat("1", 64)
	_, err = c.Fetch(ctx, e, func(p backend.Progress) { said = p.What; cancel() })
	require.ErrorIs(t, err, context.Canceled)
	require.Contains(t, said, "another Berth")
}

func TestProxyAndEncryption(t *testing.T) {
	tr := Cache{}.client().Transport.(*http.Transport)
	require.NotNil(t, tr.Proxy)
	require.EqualValues(t, 0x0303, tr.TLSClientConfig.MinVersion)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	s := httptest.NewTLSServer(http.RedirectHandler(plain.URL+"/box.qcow2", http.StatusFound))
	t.Cleanup(s.Close)
	client := Cache{}.client()
	client.Transport = s.Client().Transport
	c := newCache(t)
	c.Client = client
	_, err := c.Fetch(t.Context(), Entry{Name: "box", Arch: "amd64", URL: s.URL + "/box.qcow2", SHA256: strings.Repeat("0",
		64)}, nil)
	require.ErrorContains(t, err, "not encrypted")
}

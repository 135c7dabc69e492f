package image

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"sync"

	"github.com/pelletier/go-toml/v2"

	"berth/assets"
	"berth/backend/api"
	"berth/backend/base/tomltext"
)

// The origins of entries, as api.Image has them.
const (
	OriginCatalogue = "catalogue"
	OriginUser      = "user"
)

// Entry is an image of the catalogue.
type Entry struct {
	Name        string   `toml:"name"`
	Description string   `toml:"description"`
	Arch        string   `toml:"arch"` // as Go names it; where a file leaves it out, the host's
	User        string   `toml:"user"` // the login user
	URL         string   `toml:"url"`
	Path        string   `toml:"path"` // on this host, absolute; used where it is
	SHA256      string   `toml:"sha256"`
	SHA512      string   `toml:"sha512"`
	Checksums   string   `toml:"checksums"` // URL of a list of checksums with URL's last element in it
	Default     bool     `toml:"default"`
	Backends    []string `toml:"backends"` // empty: all
	MinDisk     int64    `toml:"min_disk"` // bytes
	// For a disk without a boot loader.
	Kernel  string `toml:"kernel"`
	Initrd  string `toml:"initrd"`
	Cmdline string `toml:"cmdline"`

	Origin string `toml:"-"` // OriginCatalogue or OriginUser
}

// For reports whether the entry is meant for a backend.
func (e Entry) For(backend string) bool {
	return len(e.Backends) == 0 || slices.Contains(e.Backends, backend)
}

// Source is where the image comes from: its URL or path.
func (e Entry) Source() string { return cmp.Or(e.URL, e.Path) }

type catalogue struct {
	Image []Entry `toml:"image"`
}

// Load returns the built-in catalogue with the entries of userFile before it; one of the same name and
// architecture replaces the built-in one, and a default there is the only one. A file that does not exist
// is empty. An image that names no architecture is of arch: that of the host that runs it.
func Load(userFile, arch string) ([]Entry, error) {
	own, err := parse(assets.Images, "the built-in catalogue", OriginCatalogue, arch)
	if err != nil {
		return nil, err
	}
	if userFile == "" {
		return own, nil
	}
	b, err := os.ReadFile(userFile)
	if errors.Is(err, fs.ErrNotExist) {
		return own, nil
	} else if err != nil {
		return nil, api.Errorf(api.CodeFailed, "reading the images of your own: %w", err)
	}
	users, err := parse(b, userFile, OriginUser, arch)
	if err != nil {
		return nil, err
	}
	out := users
	def := map[string]bool{}
	for _, e := range users {
		def[e.Arch] = def[e.Arch] || e.Default
	}
	for _, e := range own {
		if slices.ContainsFunc(users, func(u Entry) bool { return u.Name == e.Name && u.Arch == e.Arch }) {
			continue
		}
		e.Default = e.Default && !def[e.Arch]
		out = append(out, e)
	}
	return out, nil
}

func parse(b []byte, from, origin, arch string) ([]Entry, error) {
	var c catalogue
	dec := toml.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		where := from
		var syntax *toml.DecodeError
		var strict *toml.StrictMissingError
		switch {
		case errors.As(err, &strict) && len(strict.Errors) > 0:
			row, col := strict.Errors[0].Position()
			return nil, api.Errorf(api.CodeUsage, "%s:%d:%d: there is no setting %q for an image", from, row, col,
				last(strict.Errors[0].Key())).
				WithHint("name, description, arch, user, url, path, sha256, sha512, checksums, default, backends, min_disk, kernel, initrd and cmdline are known")
		case errors.As(err, &syntax):
			row, col := syntax.Position()
			where = fmt.Sprintf("%s:%d:%d", from, row, col)
		}
		return nil, api.Errorf(api.CodeUsage, "%s: %w", where, err)
	}
	at := func(i int) string { return tomltext.Table(from, b, "image", i) }
	seen := map[string]bool{}
	defaults := map[string]string{}
	for i := range c.Image {
		e := &c.Image[i]
		e.Origin, e.Arch = origin, cmp.Or(e.Arch, arch)
		if err := e.check(); err != nil {
			return nil, api.Errorf(api.CodeUsage, "%s: image %d (%q): %w", at(i), i+1, e.Name, err)
		}
		key := e.Name + " " + e.Arch
		if seen[key] {
			return nil, api.Errorf(api.CodeUsage, "%s: image %q for %s is there twice", at(i), e.Name, e.Arch)
		}
		seen[key] = true
		if first := defaults[e.Arch]; e.Default && first != "" {
			return nil, api.Errorf(api.CodeUsage, "%s: %q and %q are both the default for %s", at(i), first, e.Name, e.Arch)
		} else if e.Default {
			defaults[e.Arch] = e.Name
		}
	}
	return c.Image, nil
}

func last(k toml.Key) string {
	if len(k) == 0 {
		return ""
	}
	return k[len(k)-1]
}

var (
	nameRule = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`) })
	userRule = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`) })
	hash256  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-fA-F]{64}$`) })
	hash512  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-fA-F]{128}$`) })
)

func (e Entry) check() error {
	switch {
	case !nameRule().MatchString(e.Name):
		return errors.New("a name is made of small letters, digits and . _ -, at most 63")
	case e.Arch != "amd64" && e.Arch != "arm64":
		return fmt.Errorf("arch is %q; it must be amd64 or arm64", e.Arch)
	case !userRule().MatchString(e.User):
		return fmt.Errorf("user is %q; it must name the login user", e.User)
	case (e.URL == "") == (e.Path == ""):
		return errors.New("it needs either url or path")
	case e.SHA256 != "" && !hash256().MatchString(e.SHA256):
		return errors.New("sha256 must be 64 hexadecimal digits")
	case e.SHA512 != "" && !hash512().MatchString(e.SHA512):
		return errors.New("sha512 must be 128 hexadecimal digits")
	case e.MinDisk < 0:
		return errors.New("min_disk must not be negative")
	case (e.Initrd != "" || e.Cmdline != "") && e.Kernel == "":
		return errors.New("initrd and cmdline need a kernel")
	}
	for name, p := range map[string]string{"path": e.Path, "kernel": e.Kernel, "initrd": e.Initrd} {
		if p != "" && !filepath.IsAbs(p) {
			return fmt.Errorf("%s is %q; it must be absolute", name, p)
		}
	}
	if e.Path != "" && e.Checksums != "" {
		return errors.New("checksums goes with url; for a path give sha256")
	}
	if e.URL == "" {
		return nil
	}
	if e.SHA256 == "" && e.SHA512 == "" && e.Checksums == "" {
		return errors.New("an image from a url needs sha256, sha512 or checksums: what is fetched is always checked")
	}
	u, err := webAddress("url", e.URL)
	if err != nil {
		return err
	}
	if b := path.Base(u.Path); b == "/" || b == "." {
		return fmt.Errorf("url %q names no file", e.URL)
	}
	if e.Checksums != "" {
		if _, err := webAddress("checksums", e.Checksums); err != nil {
			return err
		}
	}
	// Over plain HTTP a list of checksums is worth no more than the image.
	if e.SHA256 == "" && e.SHA512 == "" && !(isHTTPS(e.Checksums) || isLoopback(e.Checksums)) {
		return errors.New("checksums must be an https URL")
	}
	return nil
}

func webAddress(what, s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return nil, fmt.Errorf("%s is %q; it must be an http(s) URL", what, s)
	}
	return u, nil
}

func isHTTPS(s string) bool { u, err := url.Parse(s); return err == nil && u.Scheme == "https" }

func isLoopback(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Hostname() == "127.0.0.1" || u.Hostname() == "::1" || u.Hostname() == "localhost")
}

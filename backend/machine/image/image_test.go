package image

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/assets"
	"berth/backend/api"
)

// qcow makes the header of a qcow2 image of 1 GiB.
func qcow(change func(h []byte)) []byte {
	h := make([]byte, 64<<10)
	copy(h, qcowMagic)
	binary.BigEndian.PutUint32(h[4:], 3)
	binary.BigEndian.PutUint32(h[20:], 16)
	binary.BigEndian.PutUint64(h[24:], 1<<30)
	binary.BigEndian.PutUint32(h[100:], 104)
	if change != nil {
		change(h)
	}
	return h
}

func putBacking(h []byte, name string) {
	binary.BigEndian.PutUint64(h[8:], 512)
	binary.BigEndian.PutUint32(h[16:], uint32(len(name)))
	copy(h[512:], name)
}

func TestInspect(t *testing.T) {
	look := func(b []byte) (Info, error) { return inspect(bytes.NewReader(b), int64(len(b))) }
	i, err := look(qcow(nil))
	require.NoError(t, err)
	require.NoError(t, i.SelfContained())
	i, err = look(qcow(func(h []byte) { putBacking(h, "json:{\"file\":…}") }))
	require.NoError(t, err)
	require.Equal(t, "json:{\"file\":…}", i.BackingFile)
	require.ErrorContains(t, i.SelfContained(), "json:")
	for name, change := range map[string]func(h []byte){
		"version":       func(h []byte) { h[7] = 4 },
		"size":          func(h []byte) { h[24] = 0xff },
		"cluster":       func(h []byte) { h[23] = 40 },
		"backing far":   func(h []byte) { putBacking(h, "x"); h[8] = 0xff },
		"backing long":  func(h []byte) { putBacking(h, strings.Repeat("x", 1024)) },
		"backing empty": func(h []byte) { putBacking(h, "") },
	} {
		_, err := look(qcow(change))
		require.Error(t, err, name)
	}
	_, err = look(qcow(nil)[:90])
	require.ErrorContains(t, err, "cut off")
	_, err = look([]byte("404 not found"))
	require.ErrorContains(t, err, "no disk image")
	_, err = Inspect(t.TempDir())
	require.ErrorContains(t, err, "no regular file")
	_, err = Inspect(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func FuzzInspect(f *testing.F) {
	f.Add(qcow(nil)[:200])
	f.Add(qcow(func(h []byte) { putBacking(h, "/etc/shadow") })[:600])
	f.Add([]byte("QFI\xfb\x00\x00\x00\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := inspect(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if i.VirtualBytes < 0 || i.Format != "qcow2" && i.Format != "raw" || len(i.BackingFile) > 1023 {
			t.Fatalf("%+v", i)
		}
		if len(b) >= 72 && string(b[:4]) == qcowMagic && binary.BigEndian.Uint64(b[8:]) != 0 && i.SelfContained() == nil {
			t.Fatal("a backing file got through")
		}
	})
}

func TestParseChecksums(t *testing.T) {
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 128)
	for text, want := range map[string]string{
		a + "  x.img\n":                                         a,
		a + " *x.img\r\n":                                       a,
		strings.ToUpper(a) + " *./x.img":                        a,
		"SHA512 (x.img) = " + b:                                 b,
		a + "  x.img\n" + b + "  x.img\n":                       b,
		"# comment\n\n" + a + "  y.img\n" + b + "  x.img\n":     b,
		"-----BEGIN PGP SIGNED MESSAGE-----\n" + a + " *x.img":  a,
		a + "  x.img\n" + a + "  x.img\n":                       a,
		"SHA256 (x.img) = " + b + "\nSHA256 (x.img) = " + a:     a,
		strings.Repeat("c", 40) + "  x.img\n" + a + "  x.img\n": a,
	} {
		got, err := parseChecksums(text, "x.img")
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", a, a + "  xx.img", a + "  dir/x.img", a[:63] + "  x.img", "z" + a[1:] + "  x.img",
		a + "  x.img\n" + strings.Repeat("d", 64) + "  x.img"} {
		_, err := parseChecksums(text, "x.img")
		require.Error(t, err, text)
	}
}

func FuzzParseChecksums(f *testing.F) {
	f.Add(strings.Repeat("a", 64)+" *x.img\n", "x.img")
	f.Add("SHA512 (x.img) = "+strings.Repeat("b", 128), "x.img")
	f.Fuzz(func(t *testing.T, text, file string) {
		d, err := parseChecksums(text, file)
		if err != nil {
			return
		}
		if len(d) != 64 && len(d) != 128 || strings.Trim(d, "0123456789abcdef") != "" ||
			!strings.Contains(strings.ToLower(text), d) {
			t.Fatalf("%q", d)
		}
	})
}

func TestContentRange(t *testing.T) {
	from, total, ok := contentRange("bytes 5-9/10")
	require.Equal(t, []any{int64(5), int64(10), true}, []any{from, total, ok})
	_, total, ok = contentRange("bytes 5-9/*")
	require.True(t, ok)
	require.Zero(t, total)
	for _, s := range []string{"", "bytes", "bytes 5-9", "bytes -5-9/10", "bytes 9-5/10", "bytes 5-10/10", "bytes */10",
		"items 5-9/10", "bytes 5-9/x"} {
		_, _, ok = contentRange(s)
		require.False(t, ok, s)
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 5-9/10")
	f.Fuzz(func(t *testing.T, s string) {
		if from, total, ok := contentRange(s); ok && (from < 0 || total < 0 || total > 0 && from >= total) {
			t.Fatal(s, from, total)
		}
	})
}

func TestTheBuiltInCatalogue(t *testing.T) {
	es, err := Load("", "amd64")
	require.NoError(t, err)
	names := map[string]int{}
	defaults := 0
	for _, e := range es {
		names[e.Name]++
		require.Equal(t, OriginCatalogue, e.Origin)
		require.True(t, strings.HasPrefix(e.URL, "https://"), e.URL)
		require.Contains(t, e.URL, e.Arch)
		require.True(t, e.For("libvirt"))
		require.NotEmpty(t, e.Description)
		if e.Default {
			defaults++
		}
	}
	require.Equal(t, map[string]int{"debian-12": 2, "debian-13": 2, "ubuntu-24.04": 2, "ubuntu-22.04": 2}, names)
	require.Equal(t, 2, defaults, "one for each architecture")
}

func TestTheUsersImages(t *testing.T) {
	p := filepath.Join(t.TempDir(), "images.toml")
	write := func(s string) { require.NoError(t, os.WriteFile(p, []byte(s), 0o644)) }
	es, err := Load(p, "arm64")
	require.NoError(t, err, "there need not be a file")
	require.Len(t, es, 8)
	h := strings.Repeat("a", 64)
	write("[[image]]\nname = \"debian-12\"\narch = \"amd64\"\nuser = \"me\"\npath = \"/images/d.qcow2\"\nsha256 = \"" + h +
		"\"\nbackends = [\"libvirt\"]\n" +
		"[[image]]\nname = \"mine\"\narch = \"amd64\"\nuser = \"me\"\nurl = \"https://example.org/m.qcow2\"\nsha256 = \"" +
		h + "\"\ndefault = true\n")
	es, err = Load(p, "arm64")
	require.NoError(t, err)
	require.Len(t, es, 9)
	require.Equal(t, "/images/d.qcow2", es[0].Source())
	require.Equal(t, OriginUser, es[0].Origin)
	require.False(t, es[0].For("ec2"))
	var defaults []string
	for _, e := range es {
		if e.Default {
			defaults = append(defaults, e.Name+" "+e.Arch)
		}
	}
	require.Equal(t, []string{"mine amd64", "debian-12 arm64"}, defaults)

	write("[[image]]\nname = \"here\"\nuser = \"me\"\npath = \"/images/h.qcow2\"\n")
	es, err = Load(p, "arm64")
	require.NoError(t, err)
	require.Equal(t, "arm64", es[0].Arch, "that of the host")

	head := "[[image]]\nname = \"x\"\narch = \"amd64\"\nuser = \"me\"\n"
	for text, want := range map[string]string{
		"[[image]\n":                p + ":1:",
		head + "sha-256 = \"\"\n":   p + ":5:1: there is no setting \"sha-256\"",
		head + "min_disk = \"4\"\n": p + ":5:",
		head:                        p + ":1: image 1 (\"x\"): it needs either url or path",
		head + "path = \"/x\"\n" + " [[ image ]] # no name":                p + ":6: image 2 (\"\"): a name is made of",
		head + "url = \"https://e.org/x\"":                                 "always checked",
		head + "url = \"ftp://e.org/x\"\nsha256 = \"" + h + "\"":           "http(s)",
		head + "url = \"https://e.org/\"\nsha256 = \"" + h + "\"":          "names no file",
		head + "url = \"https://e.org/x\"\nsha256 = \"" + h[1:] + "\"":     "64 hexadecimal",
		head + "url = \"https://e.org/x\"\nchecksums = \"http://e.org/S\"": "https",
		head + "path = \"x\"":                                              "absolute",
		head + "path = \"/x\"\ncmdline = \"y\"":                            "need a kernel",
		head + "path = \"/x\"\n" + head + "path = \"/y\"":                  "there twice",
		strings.Replace(head, "amd64", "x86_64", 1) + "path = \"/x\"":      "arch is",
		strings.Replace(head, "\"me\"", "\"Me too\"", 1) + "path = \"/x\"": "login user",
		strings.Replace(head, "\"x\"", "\"../x\"", 1) + "path = \"/x\"":    "a name is made of",
		head + "default = true\npath = \"/x\"\n" + strings.Replace(head, "\"x\"", "\"y\"", 1) +
			"default = true\npath = \"/x\"": "both the default",
	} {
		write(text)
		_, err := Load(p, "arm64")
		require.ErrorContains(t, err, want, text)
		require.Equal(t, api.CodeUsage, api.AsError(err).Code)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(assets.Images)
	f.Add([]byte("[[image]]\nname = \"x\"\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		es, err := parse(b, "f", OriginUser, "amd64")
		if err != nil {
			return
		}
		for _, e := range es {
			if e.Name == "" || e.Source() == "" || strings.ContainsAny(e.Name, "/\x00") {
				t.Fatalf("%+v", e)
			}
		}
	})
}

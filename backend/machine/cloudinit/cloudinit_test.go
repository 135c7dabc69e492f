package cloudinit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/ssh"

	"berth/backend/api"
)

func newKey(t testing.TB, seed byte) (private, public string) {
	t.Helper()
	k := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	s, err := ssh.NewSignerFromKey(k)
	require.NoError(t, err)
	b, err := ssh.MarshalPrivateKey(k, "")
	require.NoError(t, err)
	return string(pem.EncodeToMemory(b)), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.PublicKey())))
}

func config(t testing.TB) Config {
	t.Helper()
	private, public := newKey(t, 1)
	_, user := newKey(t, 2)
	return Config{InstanceID: "op-1", Hostname: "vision", User: "ada", AuthorizedKeys: []string{user + " ada@laptop",
		`restrict,command="echo \"hi\"" ` + user}, HostKey: private, HostKeyPublic: public}
}

// userData is what cloud-init reads in user-data.
type userData struct {
	Preserve  bool   `yaml:"preserve_hostname"`
	Hostname  string `yaml:"hostname"`
	EtcHosts  string `yaml:"manage_etc_hosts"`
	SSHPwauth bool   `yaml:"ssh_pwauth"`
	NoRoot    bool   `yaml:"disable_root"`
	Users     []struct {
		Name   string   `yaml:"name"`
		Gecos  string   `yaml:"gecos"`
		Shell  string   `yaml:"shell"`
		Groups []string `yaml:"groups"`
		Locked bool     `yaml:"lock_passwd"`
		Sudo   string   `yaml:"sudo"`
		Keys   []string `yaml:"ssh_authorized_keys"`
	} `yaml:"users"`
	Delete   bool              `yaml:"ssh_deletekeys"`
	KeyTypes []string          `yaml:"ssh_genkeytypes"`
	HostKeys map[string]string `yaml:"ssh_keys"`
	Growpart struct {
		Mode    string   `yaml:"mode"`
		Devices []string `yaml:"devices"`
	} `yaml:"growpart"`
	Resize   string     `yaml:"resize_rootfs"`
	Update   bool       `yaml:"package_update"`
	Upgrade  bool       `yaml:"package_upgrade"`
	Packages []string   `yaml:"packages"`
	Mounts   [][]string `yaml:"mounts"`
	Run      [][]string `yaml:"runcmd"`
}

func read(t testing.TB, c Config) (u userData, meta map[string]string) {
	t.Helper()
	files, err := Files(c)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(files["user-data"], []byte("#cloud-config\n")))
	dec := yaml.NewDecoder(bytes.NewReader(files["user-data"]))
	dec.KnownFields(true)
	require.NoError(t, dec.Decode(&u), string(files["user-data"]))
	require.NoError(t, yaml.Unmarshal(files["meta-data"], &meta))
	return u, meta
}

func TestFiles(t *testing.T) {
	c := config(t)
	u, meta := read(t, c)
	require.Equal(t, map[string]string{"instance-id": "op-1", "local-hostname": "vision"}, meta)
	require.Equal(t, "vision", u.Hostname)
	require.Len(t, u.Users, 1, "no user of the image's own is made")
	user := u.Users[0]
	require.Equal(t, "ada", user.Name)
	require.Equal(t, c.AuthorizedKeys, user.Keys)
	require.Equal(t, "ALL=(ALL) NOPASSWD:ALL", user.Sudo)
	require.True(t, user.Locked)
	require.Equal(t, "/bin/bash", user.Shell)
	require.Equal(t, []string{"adm", "video"}, user.Groups)
	require.False(t, u.SSHPwauth)
	require.True(t, u.NoRoot)
	require.True(t, u.Delete)
	require.Equal(t, map[string]string{"ed25519_private": c.HostKey, "ed25519_public": c.HostKeyPublic}, u.HostKeys)
	require.Equal(t, []string{"ed25519"}, u.KeyTypes)
	require.Equal(t, "auto", u.Growpart.Mode)
	require.False(t, u.Update || u.Upgrade)
	require.Empty(t, u.Packages)
	require.Empty(t, u.Mounts)

	c.HostKey, c.HostKeyPublic = "", ""
	c.Groups, c.Shell = []string{}, "/bin/zsh"
	c.Mounts = []Mount{{Device: "LABEL=data", Path: "/data"}, {Device: "nas:/x", Path: "/mnt/x", Type: "nfs4",
		Options: "ro"}}
	c.Packages = []string{"htop", "g++"}
	u, meta = read(t, c)
	require.Equal(t, "op-1", meta["instance-id"], "cloud-init sees no new instance")
	require.False(t, u.Delete, "sealed: the machine's own keys stay")
	require.Nil(t, u.HostKeys)
	files, err := Files(c)
	require.NoError(t, err)
	require.NotContains(t, string(files["user-data"]), "PRIVATE KEY")
	require.Empty(t, u.Users[0].Groups)
	require.Equal(t, "/bin/zsh", u.Users[0].Shell)
	require.Equal(t, [][]string{{"LABEL=data", "/data", "auto", "defaults,nofail", "0", "2"}, {"nas:/x", "/mnt/x", "nfs4",
		"ro", "0", "2"}}, u.Mounts)
	require.Equal(t, []string{"htop", "g++"}, u.Packages)
}

func TestRefused(t *testing.T) {
	rsa := "ssh-rsa AAAA"
	_, other := newKey(t, 3)
	for name, change := range map[string]func(c *Config){
		"host name":             func(c *Config) { c.Hostname = "x\nruncmd: [halt]" },
		"empty host name":       func(c *Config) { c.Hostname = "" },
		"instance id":           func(c *Config) { c.InstanceID = "a b" },
		"user":                  func(c *Config) { c.User = "ada:0" },
		"user like an option":   func(c *Config) { c.User = "-o" },
		"shell":                 func(c *Config) { c.Shell = "/bin/sh:x" },
		"relative shell":        func(c *Config) { c.Shell = "sh" },
		"group":                 func(c *Config) { c.Groups = []string{"a,sudo"} },
		"no keys":               func(c *Config) { c.AuthorizedKeys = nil },
		"two keys in one":       func(c *Config) { c.AuthorizedKeys[0] += "\n" + other },
		"no key":                func(c *Config) { c.AuthorizedKeys[0] = rsa },
		"host key":              func(c *Config) { c.HostKey = "-----BEGIN nothing" },
		"host key alone":        func(c *Config) { c.HostKeyPublic = "" },
		"public host key alone": func(c *Config) { c.HostKey = "" },
		"host keys of two":      func(c *Config) { c.HostKeyPublic = other },
		"mount of nothing":      func(c *Config) { c.Mounts = []Mount{{Path: "/x"}} },
		"mount at no path":      func(c *Config) { c.Mounts = []Mount{{Device: "/dev/vdc", Path: "x"}} },
		"mount with two lines": func(c *Config) {
			c.Mounts = []Mount{{Device: "/dev/vdc", Path: "/x", Options: "ro\n/dev/vdd"}}
		},
		"package like an option": func(c *Config) { c.Packages = []string{"-o=x"} },
	} {
		c := config(t)
		change(&c)
		_, err := Files(c)
		require.Equal(t, api.CodeUsage, api.AsError(err).Code, name)
		require.NotContains(t, err.Error(), "PRIVATE KEY", name)
		_, err = Seed(c)
		require.Error(t, err, name)
	}
}

func TestSeed(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	c := config(t)
	b, err := Seed(c)
	require.NoError(t, err)
	require.Less(t, len(b), 1<<20)
	require.Equal(t, "cidata", strings.TrimRight(string(b[0x8028:0x8028+32]), " \x00"))
	p := filepath.Join(t.TempDir(), "s.iso")
	require.NoError(t, os.WriteFile(p, b, 0o600))
	f, err := os.Open(p)
	require.NoError(t, err)
	defer f.Close()
	fs, err := iso9660.Read(file.New(f, true), int64(len(b)), 0, 2048)
	require.NoError(t, err)
	want, err := Files(c)
	require.NoError(t, err)
	for name, text := range want {
		got, err := fs.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, string(text), string(got))
	}
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "berth-seed-*"))
	require.NoError(t, err)
	require.Empty(t, left, "the host key does not lie about")
}

// FuzzQuote sees that no text breaks out of its place.
// The agent lies in the seed beside the script that puts it in place, as old as it is here; without one
// nothing speaks of it.
func TestAgentIsHandedIn(t *testing.T) {
	c := config(t)
	files, err := Files(c)
	require.NoError(t, err)
	require.Len(t, files, 2)
	require.NotContains(t, string(files["user-data"]), "bootcmd")

	built := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c.Agent = &Agent{Name: "berth", Args: []string{"agent"}, Hash: strings.Repeat("0a", 32), Built: built,
		Program: []byte("a program")}
	b, err := Seed(c)
	require.NoError(t, err)
	f, err := os.Create(filepath.Join(t.TempDir(), "seed.iso"))
	require.NoError(t, err)
	defer f.Close()
	_, err = f.Write(b)
	require.NoError(t, err)
	fs, err := iso9660.Read(file.New(f, true), int64(len(b)), 0, 2048)
	require.NoError(t, err)
	got, err := fs.ReadFile("berth-agent")
	require.NoError(t, err)
	require.Equal(t, "a program", string(got))
	dir, err := fs.ReadDir(".")
	require.NoError(t, err)
	for _, e := range dir {
		if e.Name() == "berth-agent" {
			i, err := e.Info()
			require.NoError(t, err)
			require.Equal(t, built, i.ModTime().UTC())
		}
	}
	script, err := fs.ReadFile("berth-agent.sh")
	require.NoError(t, err)
	require.Contains(t, string(script), `/bin/`+c.Agent.Hash)
	require.Contains(t, string(script), `start="\"$agent\" agent start"`)
	for _, text := range []string{string(script), c.HandIn()} {
		cmd := exec.Command("sh", "-n")
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	for _, bad := range []Agent{{Name: "a b", Hash: c.Agent.Hash}, {Name: "berth", Hash: "x"},
		{Name: "berth", Hash: c.Agent.Hash, Args: []string{"$(id)"}}} {
		c.Agent = &bad
		_, err := Files(c)
		require.ErrorIs(t, err, &api.Error{Code: api.CodeUsage})
	}
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a: b", "\"\nruncmd: [halt]", "{{q .}}", "\x00\x7f\u0085\u2028\ufeff", "𝄞\\n'",
		"%0a &x *x !!x |", "\xff"} {
		f.Add(s, "x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		q, err := list([]string{a, b})
		if err != nil {
			return
		}
		if regexp.MustCompile(`[^ -~]`).MatchString(q) {
			t.Fatalf("%q is not plain ASCII", q)
		}
		var doc struct {
			L []string `yaml:"l"`
			E string   `yaml:"e"`
		}
		dec := yaml.NewDecoder(strings.NewReader("l: " + q + "\ne: end\n"))
		dec.KnownFields(true)
		if err := dec.Decode(&doc); err != nil {
			t.Fatalf("%q: %v", q, err)
		}
		if !slices.Equal(doc.L, []string{a, b}) || doc.E != "end" {
			t.Fatalf("%q became %q", []string{a, b}, doc)
		}
	})
}

// FuzzFiles sees that what is accepted comes out as it went in.
func FuzzFiles(f *testing.F) {
	c := config(f)
	f.Add(c.InstanceID, c.Hostname, c.User, c.AuthorizedKeys[1], "/bin/sh", "adm", "/dev/vdc", "/data", "ro", "htop")
	f.Add("a", "b", "c\n- name: d", "ssh-ed25519 AAAA\"\n", "/bin/\"x", "g\n", "x\x00", "/\n", "a b", "p: q")
	f.Fuzz(func(t *testing.T, id, host, user, key, shell, group, device, path, options, pkg string) {
		c := config(t)
		c.InstanceID, c.Hostname, c.User, c.Shell, c.Groups = id, host, user, shell, []string{group}
		c.AuthorizedKeys = append(c.AuthorizedKeys, key)
		c.Mounts = []Mount{{Device: device, Path: path, Options: options}}
		c.Packages = []string{pkg}
		if _, err := Files(c); err != nil {
			return
		}
		u, meta := read(t, c)
		if shell == "" {
			shell = "/bin/bash"
		}
		if len(u.Users) != 1 || u.Users[0].Name != user || u.Users[0].Shell != shell || !slices.Equal(u.Users[0].Keys,
			c.AuthorizedKeys) || u.Hostname != host ||
			meta["instance-id"] != id || !slices.Equal(u.Mounts[0], c.Mounts[0].Fields()) || u.Packages[0] != pkg ||
			len(u.Run) != 1 {
			t.Fatalf("%+v", u)
		}
	})
}

func BenchmarkSeed(b *testing.B) {
	c := config(b)
	for b.Loop() {
		if _, err := Seed(c); err != nil {
			b.Fatal(err)
		}
	}
}

func TestACopiedDiskGetsAnIdentityOfItsOwn(t *testing.T) {
	c := config(t)
	files, err := Files(c)
	require.NoError(t, err)
	require.NotContains(t, string(files["user-data"]), "machine-id")
	c.Copied = true
	files, err = Files(c)
	require.NoError(t, err)
	var doc struct {
		Bootcmd [][]string `yaml:"bootcmd"`
	}
	require.NoError(t, yaml.Unmarshal(files["user-data"], &doc))
	require.Len(t, doc.Bootcmd, 1)
	require.Equal(t, []string{"cloud-init-per", "instance", "berth-identity", "sh", "-c", c.Identity()}, doc.Bootcmd[0],
		"once for each instance")
	out, err := exec.Command("sh", "-n", "-c", c.Identity()).CombinedOutput()
	require.NoError(t, err, string(out))
}

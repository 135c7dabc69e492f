package knownhosts

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"berth/backend/transport/ssh/sshdtest"
)

func keyLine(hosts string, k ssh.PublicKey) string {
	return hosts + " " + string(ssh.MarshalAuthorizedKey(k))
}

func load(t *testing.T, lines ...string) *DB {
	t.Helper()
	f := filepath.Join(t.TempDir(), "known_hosts")
	require.NoError(t, os.WriteFile(f, []byte(strings.Join(lines, "")), 0o600))
	db := Load(f, filepath.Join(t.TempDir(), "missing"))
	require.Empty(t, db.Warnings)
	return db
}

func TestCheck(t *testing.T) {
	a, b, rsa := sshdtest.NewKey(t, "ed25519", "").Public, sshdtest.NewKey(t, "ed25519", "").Public,
		sshdtest.NewKey(t, "rsa", "").Public
	h22, h2222 := Name{Host: "gpu1", Port: 22}, Name{Host: "gpu1", Port: 2222}
	for name, c := range map[string]struct {
		lines []string
		host  Name
		want  any // an error type, or nil
	}{
		"plain":                 {[]string{keyLine("gpu1", a)}, h22, nil},
		"case":                  {[]string{keyLine("GPU1", a)}, h22, nil},
		"among others":          {[]string{keyLine("x,gpu1,10.0.0.1", a)}, h22, nil},
		"pattern":               {[]string{keyLine("gpu*", a)}, h22, nil},
		"negated":               {[]string{keyLine("gpu*,!gpu1", a)}, h22, &UnknownError{}},
		"hashed":                {[]string{keyLine(hashed("gpu1"), a)}, h22, nil},
		"hashed, other":         {[]string{keyLine(hashed("gpu2"), a)}, h22, &UnknownError{}},
		"port":                  {[]string{keyLine("[gpu1]:2222", a)}, h2222, nil},
		"hashed port":           {[]string{keyLine(hashed("[gpu1]:2222"), a)}, h2222, nil},
		"bare name, other port": {[]string{keyLine("gpu1", a)}, h2222, nil},
		"bare name, other key":  {[]string{keyLine("gpu1", b)}, h2222, &UnknownError{}},
		"other port":            {[]string{keyLine("[gpu1]:2222", a)}, h22, &UnknownError{}},
		"changed":               {[]string{keyLine("gpu1", b)}, h22, &ChangedError{}},
		"two keys":              {[]string{keyLine("gpu1", b), keyLine("gpu1", a)}, h22, nil},
		"other type":            {[]string{keyLine("gpu1", rsa)}, h22, &UnknownError{}},
		"nothing":               {nil, h22, &UnknownError{}},
		"revoked":               {[]string{keyLine("gpu1", a), "@revoked " + keyLine("*", a)}, h22, &RevokedError{}},
		"bad lines are passed over": {[]string{"gpu1 ssh-ed25519 AAAA\n", "\x00\xff\n", "gpu1\n", "# c\n",
			"@odd " + keyLine("gpu1", b), keyLine("gpu1", a)}, h22, nil},
		"alias":                      {[]string{keyLine("thebox", a)}, Name{Host: "gpu1", Port: 2222, Alias: "thebox"}, nil},
		"comment and CRLF":           {[]string{strings.TrimSpace(keyLine("gpu1", a)) + " me@home\r\n"}, h22, nil},
		"an authority is no key":     {[]string{"@cert-authority " + keyLine("gpu1", a)}, h22, &UnknownError{}},
		"no line break after a line": {[]string{strings.TrimSpace(keyLine("gpu1", a))}, h22, nil},
	} {
		t.Run(name, func(t *testing.T) {
			err := load(t, c.lines...).Check(c.host, a)
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			require.IsType(t, c.want, err)
		})
	}
}

func TestCertificates(t *testing.T) {
	ca, host, other := sshdtest.NewKey(t, "ed25519", ""), sshdtest.NewKey(t, "ed25519", ""), sshdtest.NewKey(t, "ed25519",
		"")
	cert := func(kind uint32, before uint64, principals ...string) *ssh.Certificate {
		c := &ssh.Certificate{Key: host.Public, CertType: kind, ValidPrincipals: principals, ValidBefore: before}
		require.NoError(t, c.SignCert(rand.Reader, ca.Signer))
		return c
	}
	good := cert(ssh.HostCert, ssh.CertTimeInfinity, "gpu1")
	at := func(port int) Name { return Name{Host: "gpu1", Port: port} }
	for _, hosts := range []string{"*", "gpu1", "gpu*", "[gpu1]:2222"} {
		require.NoError(t, load(t, "@cert-authority "+keyLine(hosts, ca.Public)).Check(at(2222), good), hosts)
	}
	db := load(t, "@cert-authority "+keyLine("*", ca.Public))
	require.NoError(t, db.Check(at(22), good))
	for name, c := range map[string]*ssh.Certificate{
		"another host": cert(ssh.HostCert, ssh.CertTimeInfinity, "gpu2"),
		"no names":     cert(ssh.HostCert, ssh.CertTimeInfinity),
		"of a user":    cert(ssh.UserCert, ssh.CertTimeInfinity, "gpu1"),
		"over":         cert(ssh.HostCert, 1, "gpu1"),
	} {
		require.IsType(t, &UnknownError{}, db.Check(at(22), c), name)
	}
	require.IsType(t, &UnknownError{}, load(t, "@cert-authority "+keyLine("*", other.Public)).Check(at(22), good))
	require.IsType(t, &RevokedError{}, load(t, "@cert-authority "+keyLine("*", ca.Public), "@revoked "+keyLine("*",
		ca.Public)).Check(at(22), good))
	// Without an authority the plain key decides.
	require.NoError(t, load(t, keyLine("gpu1", host.Public)).Check(at(22), good))
	require.IsType(t, &ChangedError{}, load(t, keyLine("gpu1", other.Public)).Check(at(22), good))

	require.Contains(t, db.Algorithms(at(22))[0], "-cert-v01@openssh.com")
	algos := load(t, keyLine("gpu1", sshdtest.NewKey(t, "rsa", "").Public)).Algorithms(at(22))
	require.Contains(t, algos[0], "rsa-sha2", "known types come first")
	require.NotContains(t, strings.Join(algos, ","), "-cert-v01")
}

// What we write, OpenSSH finds, and the other way round.
func TestAddAgainstSSHKeygen(t *testing.T) {
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("no ssh-keygen on this machine: install openssh-client")
	}
	key := sshdtest.NewKey(t, "ed25519", "").Public
	for _, hash := range []bool{false, true} {
		f := filepath.Join(t.TempDir(), "ssh", "known_hosts")
		n := Name{Host: "gpu1", Port: 2222}
		require.NoError(t, Add(f, n, key, hash))
		out, err := exec.Command(keygen, "-F", n.String(), "-f", f).CombinedOutput()
		require.NoError(t, err, string(out))
		require.NoError(t, Load(f).Check(n, key))
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		require.Equal(t, hash, strings.HasPrefix(string(b), "|1|"))
		st, err := os.Stat(f)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), st.Mode().Perm())
	}
	f := filepath.Join(t.TempDir(), "known_hosts")
	require.NoError(t, os.WriteFile(f, []byte(keyLine("[gpu1]:2222,gpu9", key)), 0o600))
	out, err := exec.Command(keygen, "-H", "-f", f).CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, Load(f).Check(Name{Host: "gpu1", Port: 2222}, key))
	require.NoError(t, Load(f).Check(Name{Host: "gpu9", Port: 22}, key))
}

func TestAddAtOnce(t *testing.T) {
	f := filepath.Join(t.TempDir(), "known_hosts")
	require.NoError(t, os.WriteFile(f, []byte("# no line break at the end"), 0o600))
	key := sshdtest.NewKey(t, "ed25519", "").Public
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() { require.NoError(t, Add(f, Name{Host: fmt.Sprintf("h%d", i), Port: 22}, key, i%2 == 0)) })
	}
	wg.Wait()
	db := Load(f)
	for i := range 50 {
		require.NoError(t, db.Check(Name{Host: fmt.Sprintf("h%d", i), Port: 22}, key))
	}
}

func TestUnreadableFileIsAWarning(t *testing.T) {
	db := Load(t.TempDir())
	require.Len(t, db.Warnings, 1)
}

func FuzzParseLine(f *testing.F) {
	key := sshdtest.NewKey(f, "ed25519", "").Public
	for _, s := range []string{keyLine("gpu1", key), keyLine(hashed("gpu1"), key), "@cert-authority " + keyLine("*,!x",
		key), "@revoked * x y", "|1|a|b x y", "#"} {
		f.Add(s, "gpu1")
	}
	f.Fuzz(func(t *testing.T, line, name string) {
		l, err := ParseLine([]byte(line))
		if err != nil {
			return
		}
		if l.Key == nil {
			t.Fatal("a line without a key")
		}
		_ = l.Match(name)
		db := &DB{lines: []Line{l}}
		n := Name{Host: name, Port: 22}
		if err := db.Check(n, l.Key); err == nil && l.Marker != Plain {
			t.Fatalf("%q vouches for its own key", line)
		}
		_ = db.Algorithms(n)
	})
}

func FuzzWildcard(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Fuzz(func(t *testing.T, p, s string) {
		got := wildcard(p, s)
		if !strings.ContainsAny(p, "*?") && got != (p == s) {
			t.Fatalf("%q %q: %v", p, s, got)
		}
		if !wildcard("*"+p+"*", s) && got {
			t.Fatalf("%q matches %q, but not with stars around it", p, s)
		}
	})
}

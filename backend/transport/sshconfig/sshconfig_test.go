package sshconfig

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const sample = `
Host *.example !bad.example
    User wild
Host box
    HostName %h.example.com
    Port 2222
    User bob
    HostKeyAlias thebox
    ProxyJump a@jump1:22,jump2
    IdentityFile ~/.ssh/one
    IdentityFile "FOLDER/with space"
    CertificateFile ~/.ssh/one-cert.pub
    IdentitiesOnly yes
    UserKnownHostsFile FOLDER/kh1 FOLDER/kh2
    GlobalKnownHostsFile none
    StrictHostKeyChecking accept-new
    HashKnownHosts yes
    ConnectTimeout 7
    BatchMode yes
    Ciphers aes256-ctr
    MACs hmac-sha2-256
    KexAlgorithms curve25519-sha256
    HostKeyAlgorithms ssh-ed25519,ssh-rsa
Host viacommand
    ProxyCommand nc -X 5 %h %p
Include included
`

func writeSample(t *testing.T, text string) (file, dir string) {
	t.Helper()
	dir = t.TempDir()
	file = filepath.Join(dir, "config")
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(text, "FOLDER", dir)), 0o600))
	return file, dir
}

// both resolves with ssh -G and with the library.
func both(t *testing.T, f func(t *testing.T, env map[string]string)) {
	t.Run("ssh -G", func(t *testing.T) {
		if _, err := exec.LookPath("ssh"); err != nil {
			t.Skip("no ssh on this machine: install openssh-client")
		}
		f(t, nil)
	})
	t.Run("library", func(t *testing.T) { f(t, map[string]string{"PATH": "/nowhere"}) })
}

func TestResolve(t *testing.T) {
	both(t, func(t *testing.T, env map[string]string) {
		file, dir := writeSample(t, sample)
		h, err := Resolve(t.Context(), Query{Host: "box", Env: env, File: file})
		require.NoError(t, err)
		home := HomeDir()
		want := Host{
			Alias: "box", Hostname: "box.example.com", User: "bob", Port: 2222, HostKeyAlias: "thebox",
			ProxyJump:     []string{"a@jump1:22", "jump2"},
			IdentityFiles: []string{home + "/.ssh/one", dir + "/with space"},
			Certificates:  []string{home + "/.ssh/one-cert.pub"}, IdentitiesOnly: true,
			UserKnown: []string{dir + "/kh1", dir + "/kh2"}, Strict: "accept-new", HashKnown: true,
			ConnectTimeout: 7 * time.Second, BatchMode: true,
			Pubkey: true, Password: true, Interactive: true, From: h.From,
			Algorithms: Algorithms{Ciphers: "aes256-ctr", MACs: "hmac-sha2-256", KeyExchanges: "curve25519-sha256",
				HostKeys: "ssh-ed25519,ssh-rsa"},
		}
		if h.From == "ssh_config" {
			want.GlobalKnown = []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}
		}
		require.Equal(t, want, h)

		h, err = Resolve(t.Context(), Query{Host: "box", User: "alice", Port: 22, Env: env, File: file})
		require.NoError(t, err)
		require.Equal(t, "alice", h.User)
		require.Equal(t, 22, h.Port)

		h, err = Resolve(t.Context(), Query{Host: "a.example", Env: env, File: file})
		require.NoError(t, err)
		require.Equal(t, "wild", h.User)
		require.Contains(t, h.IdentityFiles, home+"/.ssh/id_ed25519")
		require.Equal(t, "ask", h.Strict)
		require.Contains(t, h.UserKnown, home+"/.ssh/known_hosts")

		h, err = Resolve(t.Context(), Query{Host: "viacommand", Env: env, File: file})
		require.NoError(t, err)
		require.Equal(t, "nc -X 5 viacommand 22", h.ProxyCommand)
	})
}

func TestUnreadableConfigurationNeverFails(t *testing.T) {
	both(t, func(t *testing.T, env map[string]string) {
		for _, text := range []string{"Host x\n  NoSuchKeyword yes\n", "\"unclosed",
			"Match originalhost gpu1 user bob\n  Port 3\n", "\x00\xff"} {
			file, _ := writeSample(t, text)
			h, err := Resolve(t.Context(), Query{Host: "gpu1", User: "bob", Env: env, File: file})
			require.NoError(t, err)
			require.Equal(t, "gpu1", h.Hostname)
		}
	})
}

func TestResolveRefusesOptions(t *testing.T) {
	for _, host := range []string{"-oProxyCommand=touch x", "", "a b", "$(id)", "a;b"} {
		_, err := Resolve(t.Context(), Query{Host: host})
		require.Error(t, err, host)
	}
	_, err := Resolve(t.Context(), Query{Host: "x", User: "-l"})
	require.Error(t, err)
}

func TestParseJump(t *testing.T) {
	for in, want := range map[string]Jump{
		"host": {Host: "host"}, "u@host:22": {Host: "host", User: "u", Port: 22}, "ssh://u@h:1": {Host: "h", User: "u",
			Port: 1},
		"[::1]:22": {Host: "::1", Port: 22}, "::1": {Host: "::1"}, "a@b@c": {Host: "c", User: "a@b"},
	} {
		got, ok := ParseJump(in)
		require.True(t, ok, in)
		require.Equal(t, want, got)
	}
	for _, in := range []string{"", "@h", "-x", "h:", "h:0", "h:99999", "[::1", "a b", "u`x`@h"} {
		_, ok := ParseJump(in)
		require.False(t, ok, in)
	}
}

func TestParseTime(t *testing.T) {
	for in, want := range map[string]time.Duration{"90": 90 * time.Second, "1m30": 90 * time.Second, "2h": 2 * time.Hour,
		"none": 0, "": 0, "x": 0, "99999999999w": 0} {
		require.Equal(t, want, parseTime(in), in)
	}
}

func FuzzParseG(f *testing.F) {
	f.Add("user root\nhostname x\nport 22\nproxyjump a,b\nuserknownhostsfile /a /b c\nconnecttimeout 1m\nidentityfile ~/%h${X}\n")
	f.Fuzz(func(t *testing.T, out string) {
		q := Query{Host: "gpu1"}
		h, err := complete(ParseG(q, []byte(out)), q)
		if err != nil {
			return
		}
		if h.Port < 1 || h.Port > 65535 || h.Hostname == "" || h.ConnectTimeout < 0 {
			t.Fatalf("%+v", h)
		}
		for _, j := range h.ProxyJump {
			if got, ok := ParseJump(j); ok && (got.Host == "" || got.Host[0] == '-') {
				t.Fatalf("%q gave %+v", j, got)
			}
		}
	})
}

package ssh

import (
	"context"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	gossh "golang.org/x/crypto/ssh"

	"berth/backend"
	"berth/backend/api"
	"berth/backend/base/paths"
	"berth/backend/transport/ssh"
	"berth/backend/transport/ssh/sshdtest"
)

func open(t *testing.T, config string) (backend.Backend, context.Context) {
	t.Helper()
	h, err := paths.At(t.TempDir())
	require.NoError(t, err)
	m := ssh.NewManager(ssh.Options{Home: h, SSHConfig: config})
	t.Cleanup(m.Close)
	b, err := backend.Open(Name, backend.Env{Home: h, Remote: m})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return b, ctx
}

func TestAdoptAndGet(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	known := filepath.Join(t.TempDir(), "known_hosts")
	b, ctx := open(t, sshdtest.Config(t, s.Stanza("box", known, "StrictHostKeyChecking accept-new")))
	m, err := b.(backend.Adopter).Adopt(ctx, backend.AdoptSpec{Token: "op-1", Name: "gpu", Target: "box", Share: s.Home})
	require.NoError(t, err)
	require.Equal(t, api.StateRunning, m.State)
	require.Equal(t, s.User, m.User)
	require.Equal(t, s.Port, m.Port)
	require.Equal(t, "127.0.0.1", m.Address)
	require.Equal(t, runtime.NumCPU(), m.VCPUs)
	require.Positive(t, m.MemoryBytes)
	require.Positive(t, m.DiskBytes)
	require.Equal(t, s.Home, m.Workdir)
	require.Equal(t, "box", m.Line.SSH.Host)
	require.True(t, m.Adopted)
	require.NotEmpty(t, m.Notes)
	for _, c := range []string{"create", "start", "stop", "restart", "delete", "console"} {
		require.NotEmpty(t, m.Capabilities.Why[c], c)
	}

	again, err := b.Get(ctx, backend.Ref{ID: m.ID, Data: m.Data})
	require.NoError(t, err)
	require.Equal(t, m, again)
	require.NoError(t, b.Delete(ctx, backend.Ref{ID: m.ID, Data: m.Data}))

	s.Kill()
	require.Eventually(t, func() bool {
		_, err = b.Get(ctx, backend.Ref{ID: m.ID, Data: m.Data})
		return err != nil
	}, 2*time.Minute, 10*time.Millisecond)
	require.ErrorIs(t, err, backend.ErrUnreachable)
}

func TestAdoptRefuses(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	known := filepath.Join(t.TempDir(), "known_hosts")
	b, ctx := open(t, sshdtest.Config(t, s.Stanza("box", known, "StrictHostKeyChecking accept-new")))
	a := b.(backend.Adopter)
	_, err := a.Adopt(ctx, backend.AdoptSpec{Target: "box", Share: "/no/such/folder"})
	require.Equal(t, api.CodeUsage, api.AsError(err).Code)
	_, err = a.Adopt(ctx, backend.AdoptSpec{Target: "box", HostKey: "SHA256:AAAA"})
	require.ErrorIs(t, err, backend.ErrRefused)
	m, err := a.Adopt(ctx, backend.AdoptSpec{Name: "gpu1", Target: "box",
		HostKey: gossh.FingerprintSHA256(s.HostKey.Public)})
	require.NoError(t, err)
	require.Equal(t, "gpu1", m.Line.SSH.PinnedBy, "so that a changed key can be told from a mistyped one")
	_, err = a.Adopt(ctx, backend.AdoptSpec{Local: true})
	require.ErrorIs(t, err, backend.ErrUnsupported)
	for _, target := range []string{"", "@host", "-oProxyCommand=x", "a b", "host:0", "host:x", "a@-b", "[::1", "h$(x)"} {
		_, err = a.Adopt(ctx, backend.AdoptSpec{Target: target})
		require.Equal(t, api.CodeUsage, api.AsError(err).Code, target)
	}
	for name, err := range map[string]error{"start": b.Start(ctx, backend.Ref{}), "stop": b.Stop(ctx, backend.Ref{}),
		"restart": b.Restart(ctx, backend.Ref{})} {
		require.ErrorIs(t, err, backend.ErrUnsupported, name)
		require.Equal(t, 2, api.ExitCode(err))
	}
}

func TestParseTarget(t *testing.T) {
	for in, want := range map[string]backend.SSHTarget{
		"gpu1":                 {Host: "gpu1"},
		"me@gpu1":              {Host: "gpu1", User: "me"},
		"me@gpu1:2222":         {Host: "gpu1", User: "me", Port: 2222},
		"me@corp@gpu1":         {Host: "gpu1", User: "me@corp"},
		"ssh://me@gpu1:22/":    {Host: "gpu1", User: "me", Port: 22},
		"fe80::1":              {Host: "fe80::1"},
		"me@[fe80::1]:2222":    {Host: "fe80::1", User: "me", Port: 2222},
		"[fe80::1%eth0]":       {Host: "fe80::1%eth0"},
		"gpu-1.example.com:22": {Host: "gpu-1.example.com", Port: 22},
	} {
		got, err := ParseTarget(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"me@gpu1:22", "[::1]:2", "ssh://a@b", "-x", "a@b@c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseTarget(s)
		if err != nil {
			return
		}
		if got.Host == "" || got.Host[0] == '-' || got.Port < 0 || got.Port > 65535 {
			t.Fatalf("%q gave %+v", s, got)
		}
	})
}

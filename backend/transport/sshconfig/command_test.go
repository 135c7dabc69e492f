package sshconfig

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKnownHostsCommand(t *testing.T) {
	both(t, func(t *testing.T, env map[string]string) {
		file, dir := writeSample(t, `
Host gpu9
  User ada
  KnownHostsCommand FOLDER/say %n "%r at %H" %I %t %f %K
`)
		script := "#!/bin/sh\nfor a; do echo \"[$a]\"; done\n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, "say"), []byte(script), 0o755))
		h, err := Resolve(t.Context(), Query{Host: "gpu9", Env: env, File: file})
		require.NoError(t, err)
		out, err := h.KnownHosts(t.Context(), env, AskedKey{Host: "[gpu9]:22", Why: ForOrder})
		require.NoError(t, err)
		require.Equal(t, "[gpu9]\n[ada at [gpu9]:22]\n[ORDER]\n[NONE]\n[NONE]\n[NONE]\n", string(out))
		out, err = h.KnownHosts(t.Context(), env, AskedKey{Host: "gpu9", Why: ForHostname, Type: "ssh-ed25519",
			Fingerprint: "SHA256:x", Base64: "AAAA"})
		require.NoError(t, err)
		require.Equal(t, "[gpu9]\n[ada at gpu9]\n[HOSTNAME]\n[ssh-ed25519]\n[SHA256:x]\n[AAAA]\n", string(out))
	})
	for command, why := range map[string]string{"say %n": "absolute path", "/bin/false": "exit status 1", "": "absolute path",
		"/bin/echo %T": "%T", "/bin/echo 'open": "not closed", "/no/such/program": "no such file",
		"/bin/sh -c 'echo because >&2; exit 3'": "exit status 3: because"} {
		_, err := Host{KnownHostsCommand: command}.KnownHosts(t.Context(), nil, AskedKey{})
		require.ErrorContains(t, err, why, command)
	}
}

func FuzzSplitArguments(f *testing.F) {
	for _, s := range []string{`a b`, `"a b" 'c d'`, `a\ b`, `\"`, `"\'"`, `'`, ``} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out, err := splitArguments(s)
		total := 0
		for _, a := range out {
			total += len(a)
		}
		if err == nil && total > len(s) {
			t.Fatalf("%q gave %q", s, out)
		}
	})
}

func TestSplitArguments(t *testing.T) {
	for in, want := range map[string][]string{`a  b	c`: {"a", "b", "c"}, `"a b" 'c "d'`: {"a b", `c "d`}, `a\ b \"`: {"a b", `"`},
		`"" x`: {"", "x"}, `a\nb`: {`a\nb`}, `"a\"b"`: {`a"b`}} {
		got, err := splitArguments(in)
		require.NoError(t, err)
		require.Equal(t, want, got, in)
	}
}

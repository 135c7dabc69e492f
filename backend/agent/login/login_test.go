package login

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/environ"
	"berth/backend/api"
)

// profiles are the start-up files of login shells: noisy, and setting a variable with odd contents.
var profiles = map[string]struct{ file, text string }{
	"bash": {".bash_profile", "echo hello; printf '\\0x\\0'; export MARK='a b\n=c'\n"},
	"zsh":  {".zprofile", "echo hello; export MARK='a b\n=c'\n"},
	"dash": {".profile", "echo hello; export MARK='a b\n=c'\n"},
	"ksh":  {".profile", "echo hello; export MARK='a b\n=c'\n"},
	"fish": {".config/fish/config.fish", "echo hello\nif status is-login\n  set -gx MARK 'a b\n=c'\nend\n"},
	"tcsh": {".login", "echo hello\nsetenv MARK 'a b\\\n=c'\n"},
}

func TestLoginEnvironmentOfEveryShell(t *testing.T) {
	t.Parallel()
	for shell, p := range profiles {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skipf("%s is not installed", shell)
			}
			o := agenttest.Options(t)
			o.Shell = path
			f := filepath.Join(o.Home, p.file)
			require.NoError(t, os.MkdirAll(filepath.Dir(f), 0o700))
			require.NoError(t, os.WriteFile(f, []byte(p.text), 0o600))
			got := capture(t.Context(), o, Base(o, os.Environ()), agenttest.Program(t), time.Minute)
			require.Equal(t, api.ShellEnvironment{CapturedAt: got.info.CapturedAt, Shell: path, How: api.ShellInteractive},
				got.info)
			env := got.env
			require.Equal(t, "a b\n=c", environ.Lookup(env, "MARK"))
			require.Equal(t, o.Home, environ.Lookup(env, "HOME"))
			require.Equal(t, path, environ.Lookup(env, "SHELL"))
		})
	}
}

func TestLoginShellThatIsOfNoUse(t *testing.T) {
	for name, script := range map[string]string{
		"fails":          "#!/bin/sh\nexit 1\n",
		"says nothing":   "#!/bin/sh\nexit 0\n",
		"is no program":  "\x7fELF nonsense",
		"knows no login": "#!/bin/sh\n[ \"$1\" = -c ] || exit 2\ncase $0 in -*) exit 2;; esac\nexec /bin/sh \"$@\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			o := agenttest.Options(t)
			o.Shell = filepath.Join(o.Home, "shell")
			require.NoError(t, os.WriteFile(o.Shell, []byte(script), 0o700))
			l := New(t.Context(), o, Base(o, os.Environ()), agenttest.Program(t))
			require.Equal(t, o.Home, environ.Lookup(l.Environment(t.Context()), "HOME"))
			var info api.AgentInfo
			l.Report(&info)
			require.Len(t, info.Warnings, 1)
			require.Equal(t, map[bool]string{true: api.ShellLogin, false: api.ShellPlain}[name == "knows no login"],
				info.Environment.How)
			require.Contains(t, info.Warnings[0], "login shell")
		})
	}
}

func TestLoginShellThatHangsIsEnded(t *testing.T) {
	o := agenttest.Options(t)
	require.NoError(t, os.WriteFile(filepath.Join(o.Home, ".bash_profile"), []byte("sleep 1000\n"), 0o600))
	base := Base(o, nil)
	c := capture(t.Context(), o, base, agenttest.Program(t), 500*time.Millisecond)
	require.Equal(t, base, c.env)
	require.Equal(t, api.ShellPlain, c.info.How)
	require.Contains(t, c.info.Error, "took more than 500ms")
}

func FuzzParseMarked(f *testing.F) {
	f.Add([]byte("noise\nm4rk:QT0xAEI9CgA=:m4rk\r\nmore"))
	f.Add([]byte("m4rk::m4rk"))
	f.Add([]byte("m4rk:QT0x!:m4rk"))
	f.Fuzz(func(t *testing.T, b []byte) {
		env, ok := parseMarked(b, "m4rk")
		if ok != (len(env) > 0) {
			t.Fatalf("%v with %q", ok, env)
		}
		for _, kv := range env {
			if strings.IndexByte(kv, '=') < 1 || bytes.IndexByte([]byte(kv), 0) >= 0 {
				t.Fatalf("accepted %q", kv)
			}
		}
	})
}

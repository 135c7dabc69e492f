package login

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/agent/agenttest"
	"berth/backend/agent/environ"
	"berth/backend/agent/part"
	"berth/backend/agent/process"
	"berth/backend/api"
)

// homeWith is an agent's options with start-up files in its home. The login shell's .profile reads .bashrc,
// as on Debian and Ubuntu.
func homeWith(t testing.TB, shell string, files map[string]string) part.Options {
	t.Helper()
	path, err := exec.LookPath(shell)
	if err != nil {
		t.Skipf("%s is not installed", shell)
	}
	o := agenttest.Options(t)
	o.Shell = path
	write(t, o, ".profile", `[ -n "$BASH_VERSION" ] && . "$HOME/.bashrc"`+"\nexport FROM_PROFILE=1\n")
	for name, text := range files {
		write(t, o, name, text)
	}
	return o
}

func write(t testing.TB, o part.Options, name, text string) {
	t.Helper()
	f := filepath.Join(o.Home, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(f), 0o700))
	require.NoError(t, os.WriteFile(f, []byte(text), 0o600))
}

// serve keeps the environment of a user until the test ends.
func serve(t testing.TB, o part.Options) *Login {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := New(ctx, o, Base(o, os.Environ()), agenttest.Program(t))
	t.Cleanup(func() {
		cancel()
		l.Await(context.Background())
	})
	return l
}

// needs skips a test whose start-up files use a program that is not there.
func needs(t testing.TB, programs string) {
	t.Helper()
	for _, p := range strings.Fields(programs) {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
}

const (
	debian = "case $- in\n    *i*) ;;\n      *) return;;\nesac\n"
	found  = "export MARK=found\n"
)

// TestCaptureSurvivesStartFiles: whatever start-up files do, the environment is that of the shell that a
// terminal has.
func TestCaptureSurvivesStartFiles(t *testing.T) {
	for name, tc := range map[string]struct {
		shell, file, text, needs string
	}{
		"behind Debian's guard": {"bash", ".bashrc", debian + found, ""},
		"behind a guard of PS1": {"bash", ".bashrc", `[ -z "$PS1" ] && return` + "\n" + found, ""},
		"behind a guard of terminals": {"bash", ".bashrc",
			"[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && tty && [ \"$TERM\" != dumb ] || return\n" + found, ""},
		"behind zsh's guard": {"zsh", ".zshrc", "[[ -o interactive ]] || return\n" + found, ""},
		"behind fish's guard": {"fish", ".config/fish/config.fish",
			"status is-interactive; or exit\nset -gx MARK found\n", ""},
		"of dash": {"dash", ".profile", debian + found, ""},
		"that print": {"bash", ".bashrc",
			"echo hello; echo there >&2; clear; printf '\\033]0;title\\a\\0'\n" + found, ""},
		"that print much":            {"bash", ".bashrc", "head -c 9000000 /dev/zero | tr '\\0' x\n" + found, ""},
		"that print for ever":        {"bash", ".bashrc", "yes & yes >&2 &\n" + found, ""},
		"that trace":                 {"bash", ".bashrc", found + "set -x\n", ""},
		"that send output elsewhere": {"bash", ".bashrc", found + "exec >/dev/null 2>&1 </dev/null 3>&-\n", ""},
		"that log":                   {"bash", ".bashrc", found + "exec > >(cat >/dev/null) 2>&1\n", ""},
		"that ask": {"bash", ".bashrc",
			"read -p 'Update now? [y/N] ' a; read -sp 'Password: ' b; read -n1 -p 'Key? ' c; read d </dev/tty; cat\n" + found,
			""},
		"that ask in zsh": {"zsh", ".zshrc", "read a; read -k1 b; read -q 'c?sure? '\n" + found, ""},
		"that ask in fish": {"fish", ".config/fish/config.fish",
			"read -P 'Update now? ' a\nset -gx MARK found\n", ""},
		"of a home that is new to zsh": {"zsh", ".zshenv.no", "", ""},
		"that set the terminal":        {"bash", ".bashrc", "stty -echo; stty -ixon; stty intr ^X\n" + found, ""},
		"that leave it raw":            {"bash", ".bashrc", "stty raw -echo\n" + found, ""},
		"that leave processes": {"bash", ".bashrc",
			"sleep 1000 & (sleep 1000 &) ; coproc cat; disown -a\n" + found, ""},
		"with job control":       {"bash", ".bashrc", "set -m; sleep 0.01 | cat; fg; jobs; wait\n" + found, ""},
		"that run a pager":       {"bash", ".bashrc", "less /etc/passwd\n" + found, "less"},
		"that run a deaf pager":  {"bash", ".bashrc", "(trap '' HUP; exec less /etc/passwd)\n" + found, "less"},
		"that run another shell": {"bash", ".bashrc", "zsh -f\n" + found, "zsh"},
		"that run tmux": {"bash", ".bashrc",
			`[ -z "$TMUX" ] && exec tmux -L $BERTH_INSTANCE_ID new -A -s main` + "\n" + found, "tmux"},
		"that run tmux unasked":   {"bash", ".bashrc", "tmux new -A -s main\n" + found, "tmux"},
		"that run tmux elsewhere": {"bash", ".bashrc", "tmux -L $BERTH_INSTANCE_ID new -A -s main\n" + found, "tmux"},
		"that exec zsh":           {"bash", ".bashrc", debian + "export SHELL=$(command -v zsh)\nexec zsh -l\n", "zsh"},
		"that exec fish":          {"bash", ".bashrc", debian + "exec fish\n", "fish"},
		"that exec bash once": {"bash", ".bashrc", debian + found + `[ -n "$AGAIN" ] || AGAIN=1 exec bash` + "\n",
			""},
		"that exec zsh for logins": {"bash", ".bash_profile", "export A=1\n[ -z \"$ZSH_VERSION\" ] && exec zsh -l\n",
			"zsh"},
		"that fail": {"bash", ".bashrc", "no-such-command; false; [ 1 -eq\n" + found, ""},
		"with traps": {"bash", ".bashrc",
			found + "trap 'echo $BASH_COMMAND' DEBUG; trap 'sleep 1000' EXIT; trap '' TERM HUP\n", ""},
		"with an alias of everything": {"bash", ".bashrc",
			found + "shopt -s expand_aliases; alias berth=false; alias env=false; env() { false; }\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t, tc.needs)
			o := homeWith(t, tc.shell, map[string]string{".bashrc": "", tc.file: tc.text,
				".tmux.conf": "", ".lesshst": ""})
			if tc.shell != "zsh" {
				write(t, o, ".zshrc", found)
			}
			if tc.shell != "fish" {
				write(t, o, ".config/fish/config.fish", "status is-interactive; and set -gx MARK found\n")
			}
			base := environ.Merge(Base(o, os.Environ()), "PAGER=", "LESS=")
			c := capture(t.Context(), o, base, agenttest.Program(t), time.Minute)
			require.Empty(t, c.info.Error)
			require.Equal(t, api.ShellInteractive, c.info.How)
			if !strings.Contains(tc.file, ".no") {
				require.Equal(t, "found", environ.Lookup(c.env, "MARK"))
			}
			require.Equal(t, o.Home, environ.Lookup(c.env, "HOME"))
			for _, k := range shellsOwn {
				require.NotContains(t, "\n"+strings.Join(c.env, "\n"), "\n"+k+"=")
			}
			_ = exec.Command("tmux", "-L", o.InstanceID, "kill-server").Run()
			// Nothing of it is left but what made itself a daemon.
			agenttest.Eventually(t, "nothing to be left", func() bool {
				empty, err := process.Set{Mark: "BERTH_INSTANCE_ID=" + o.InstanceID}.Empty()
				return err == nil && empty
			})
		})
	}
}

// TestCaptureFallsBackToTheLoginShell: where an interactive shell gives nothing, it is said why, and the
// environment of a login shell serves.
func TestCaptureFallsBackToTheLoginShell(t *testing.T) {
	for name, tc := range map[string]struct {
		text, why, needs string
		limit            bool
	}{
		"exit": {"exit\n", "it ended before it ran the command", "", false},
		"fail": {"echo no licence >&2; exit 3\n", `(exit status 3); it wrote last: "no licence"`, "", false},
		"hang": {"echo waiting for the server; sleep 1000\n", `; it wrote last: "waiting for the server"`,
			"", true},
		"ask for ever": {"until read -p 'Agree? ' a && [ $a = y ]; do :; done\n", `; it wrote last: "Agree? `, "",
			true},
		"become a pager": {"exec less /etc/passwd\n", `its start-up files replaced it by "less"`, "less", false},
		"become a tmux": {"exec tmux -L $BERTH_INSTANCE_ID new -A -s main cat\n",
			`its start-up files replaced it by "tmux"`, "tmux", false},
		"become a script":       {"exec bash -c 'echo menu'\n", "it ended before it ran the command", "", false},
		"start again and again": {"exec bash -i\n", "one shell after another", "", false},
		"stop themselves":       {"kill -STOP $$\n", "took more than", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs(t, tc.needs)
			o := homeWith(t, "bash", map[string]string{".bashrc": debian + tc.text})
			t.Cleanup(func() { _ = exec.Command("tmux", "-L", o.InstanceID, "kill-server").Run() })
			limit := time.Minute
			if tc.limit {
				limit = time.Second
			}
			base := environ.Merge(Base(o, os.Environ()), "LESS=")
			c := capture(t.Context(), o, base, agenttest.Program(t), limit)
			for c.info.How != api.ShellLogin && limit < time.Minute { // on a busy machine both take longer
				limit *= 2
				c = capture(t.Context(), o, base, agenttest.Program(t), limit)
			}
			require.Contains(t, c.info.Error, tc.why)
			require.NotContains(t, c.info.Error, "\n")
			require.Equal(t, api.ShellLogin, c.info.How, c.info.Error)
			require.Equal(t, "1", environ.Lookup(c.env, "FROM_PROFILE"))
			require.WithinDuration(t, time.Now(), c.info.CapturedAt, time.Minute)
		})
	}
}

// TestCaptureTakesVariablesOnly: values are exact, what is no variable of the user is not taken.
func TestCaptureTakesVariablesOnly(t *testing.T) {
	o := homeWith(t, "bash", map[string]string{".bashrc": debian + `
export LINES_OF=$'a\nb\r\n\t=c' BYTES=$'\xff\x80' EMPTY= MARKED=m4rk:
export CONDA_PREFIX=/opt/conda CONDA_SHLVL=1 PATH=/opt/conda/bin:$PATH
alias ll='ls -l'
f() { echo f; }; export -f f
export PROMPT_COMMAND='echo prompt' PS1='$ ' PS4=+ GPG_TTY=$(tty) MY_TTY=$(tty) COLUMNS LINES SHELLOPTS
unset HISTFILE; local=1
`})
	base := Base(o, os.Environ())
	c := capture(t.Context(), o, base, agenttest.Program(t), time.Minute)
	require.Equal(t, api.ShellInteractive, c.info.How, c.info.Error)
	want := environ.Merge(o.Env(), "HOME="+o.Home, "LINES_OF=a\nb\r\n\t=c", "BYTES=\xff\x80", "EMPTY=", "MARKED=m4rk:",
		"CONDA_PREFIX=/opt/conda", "CONDA_SHLVL=1", "FROM_PROFILE=1")
	require.Equal(t, "/opt/conda/bin", filepath.SplitList(environ.Lookup(c.env, "PATH"))[0])
	for _, kv := range want {
		require.Contains(t, c.env, kv)
	}
	for _, kv := range c.env { // system-wide files of this host may add some
		k, _, _ := strings.Cut(kv, "=")
		require.NotContains(t, []string{"GPG_TTY", "MY_TTY", "PS1", "PS4", "PROMPT_COMMAND", "SHELLOPTS", "COLUMNS",
			"LINES", "TERM", "local"}, k)
		require.NotContains(t, k, "BASH_FUNC")
	}
}

// TestCaptureLeavesDaemonsAlone: what start-up files start on purpose and is a daemon, as ssh-agent, goes on.
func TestCaptureLeavesDaemonsAlone(t *testing.T) {
	needs(t, "setsid ps")
	o := homeWith(t, "bash", map[string]string{".bashrc": debian +
		"setsid sleep 1000 & echo $! >daemon; disown\nuntil [ \"$(ps -o sid= -p $!)\" -eq $! ]; do :; done\n" + found})
	c := capture(t.Context(), o, Base(o, os.Environ()), agenttest.Program(t), time.Minute)
	require.Equal(t, "found", environ.Lookup(c.env, "MARK"), c.info.Error)
	b, err := os.ReadFile(filepath.Join(o.Home, "daemon"))
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL), "it should have been left alone, though it holds the terminal")
}

// TestCaptureLeavesALiveTmuxAlone: nothing is typed into a session that the user works in.
func TestCaptureLeavesALiveTmuxAlone(t *testing.T) {
	needs(t, "tmux")
	for name, text := range map[string]string{
		"attached":     "tmux -L $BERTH_INSTANCE_ID attach\n",
		"in its place": "exec tmux -L $BERTH_INSTANCE_ID attach\n",
	} {
		t.Run(name, func(t *testing.T) {
			o := homeWith(t, "bash", map[string]string{".bashrc": debian + text + found})
			typed := filepath.Join(o.Home, "typed")
			tmux := func(args ...string) *exec.Cmd {
				return exec.Command("tmux", append([]string{"-f", "/dev/null", "-L", o.InstanceID}, args...)...)
			}
			t.Cleanup(func() { _ = tmux("kill-server").Run() })
			require.NoError(t, tmux("new", "-d", "-s", "work",
				"stty raw -echo; touch '"+typed+"'; exec dd bs=1 of='"+typed+"' 2>/dev/null").Run())
			agenttest.Eventually(t, "the session to take keys", func() bool { _, err := os.Stat(typed); return err == nil })
			c := capture(t.Context(), o, Base(o, os.Environ()), agenttest.Program(t), time.Minute)
			require.Equal(t, "1", environ.Lookup(c.env, "FROM_PROFILE"))
			require.Equal(t, name == "attached", c.info.Error == "", c.info.Error)
			require.NoError(t, tmux("has-session", "-t", "work").Run())
			require.NoError(t, tmux("send-keys", "-t", "work", "x").Run())
			var b []byte
			agenttest.Eventually(t, "a key of the user's", func() bool { b, _ = os.ReadFile(typed); return len(b) > 0 })
			require.Equal(t, "x", string(b))
		})
	}
}

// TestEnvironmentFollowsStartFiles: a file that is changed, made, removed or replaced is read again; who asks
// then has the new one.
func TestEnvironmentFollowsStartFiles(t *testing.T) {
	t.Parallel()
	o := homeWith(t, "bash", map[string]string{".bashrc": debian + "export MARK=1\n"})
	o.FreshWait = time.Minute
	l := serve(t, o)
	mark := func() string {
		return environ.Lookup(l.Environment(t.Context()), "MARK")
	}
	require.Equal(t, "1", mark())
	first := l.now
	require.Equal(t, "1", mark())
	require.Same(t, first, l.now, "nothing has changed")

	write(t, o, ".bashrc", debian+"export MARK=two\n")
	require.Equal(t, "two", mark())
	write(t, o, ".bash_profile", "export MARK=three\n")
	require.Equal(t, "three", mark())
	require.NoError(t, os.Remove(filepath.Join(o.Home, ".bash_profile")))
	require.Equal(t, "two", mark())
	write(t, o, "new", debian+"export MARK=four\n") // as editors write: of the same size or not, another file
	require.NoError(t, os.Rename(filepath.Join(o.Home, "new"), filepath.Join(o.Home, ".bashrc")))
	require.Equal(t, "four", mark())

	// What is shown follows too.
	write(t, o, ".bashrc", debian+"exit 7\n")
	agenttest.Eventually(t, "the reason to be shown", func() bool {
		var info api.AgentInfo
		l.Report(&info)
		return strings.Contains(info.Environment.Error, "exit status 7") && info.Environment.How == api.ShellLogin &&
			len(info.Warnings) > 0
	})
	write(t, o, ".bashrc", debian+"export MARK=six\n")
	require.Equal(t, "six", mark())
	require.Empty(t, l.info().Error)
}

// TestSlowStartFilesHoldUpNobody: while a newer environment is on its way for long, the newest that is there
// serves, and one that can't be had does not replace it.
func TestSlowStartFilesHoldUpNobody(t *testing.T) {
	t.Parallel()
	o := homeWith(t, "bash", map[string]string{".bashrc": "export MARK=1\n"})
	o.CaptureLimit, o.FreshWait = time.Minute, 50*time.Millisecond
	l := serve(t, o)
	run := func() string {
		return environ.Lookup(l.Environment(t.Context()), "MARK")
	}
	require.Equal(t, "1", run())
	write(t, o, ".bashrc", "until [ -e go ]; do sleep 0.01; done; exit 1\n")
	require.Equal(t, "1", run())
	require.Equal(t, "1", run())
	require.Empty(t, l.info().Error)
	write(t, o, "go", "")
	agenttest.Eventually(t, "the end of the capture", func() bool { return l.info().Error != "" })
	require.Equal(t, "1", run())
	require.Contains(t, l.warning(), "an earlier environment of the login shell "+o.Shell+": at ")
}

// TestStartFilesOfZshAndFish: the files are looked for where the shells look.
func TestStartFilesOfZshAndFish(t *testing.T) {
	for shell, files := range map[string][2]string{
		"zsh":  {".zshenv", "export ZDOTDIR=$HOME/z\n"},
		"fish": {".config/fish/conf.d/a.fish", "set -gx A 1\n"},
	} {
		t.Run(shell, func(t *testing.T) {
			o := homeWith(t, shell, map[string]string{files[0]: files[1], "z/.zshrc": "export MARK=1\n",
				".config/fish/conf.d/b.fish": "set -gx MARK 1\n"})
			o.FreshWait = time.Minute
			l := serve(t, o)
			for _, want := range []string{"1", "two"} {
				write(t, o, "z/.zshrc", "export MARK="+want+"\n")
				write(t, o, ".config/fish/conf.d/b.fish", "set -gx MARK "+want+"\n")
				require.Equal(t, want, environ.Lookup(l.Environment(t.Context()), "MARK"))
			}
			now := l.now
			require.Equal(t, "two", environ.Lookup(l.Environment(t.Context()), "MARK"))
			require.Same(t, now, l.now, "nothing has changed")
		})
	}
}

// BenchmarkEnvironment is what a command waits for its environment when no start-up file has changed.
func BenchmarkEnvironment(b *testing.B) {
	o := homeWith(b, "bash", map[string]string{".bashrc": ""})
	l := New(b.Context(), o, Base(o, os.Environ()), agenttest.Program(b))
	l.Await(b.Context())
	for b.Loop() {
		l.Environment(b.Context())
	}
}

// TestCaptureLeavesNoLocks: start-up files that hold a lock give it back, when they are cut off and when another
// shell has answered meanwhile. One that stays behind makes every later shell wait.
func TestCaptureLeavesNoLocks(t *testing.T) {
	lock := func(o part.Options) bool { _, err := os.Stat(filepath.Join(o.Home, "lock")); return err == nil }
	t.Run("cut off", func(t *testing.T) {
		t.Parallel()
		o := homeWith(t, "bash", map[string]string{
			".bashrc": `bash -c 'trap "rm -f ~/lock" EXIT; touch ~/lock ~/was; sleep 1000'`})
		c := capture(t.Context(), o, Base(o, os.Environ()), agenttest.Program(t), time.Second)
		require.NotEmpty(t, c.info.Error)
		require.FileExists(t, filepath.Join(o.Home, "was"))
		agenttest.Eventually(t, "the lock to be given back", func() bool { return !lock(o) })
	})
	t.Run("answered by another", func(t *testing.T) {
		t.Parallel()
		const limit = 5 * time.Second // after a fifth of it the other shell is asked
		o := homeWith(t, "bash", map[string]string{".bashrc": `case $- in
*i*) until [ -e ~/lock ]; do sleep 0.01; done ;;
*) touch ~/lock; until [ -e ~/answered ]; do sleep 0.01; done; touch ~/whole; rm ~/lock ;;
esac
` + found})
		c := capture(t.Context(), o, Base(o, os.Environ()), agenttest.Program(t), limit)
		require.Equal(t, api.ShellInteractive, c.info.How, c.info.Error)
		write(t, o, "answered", "")
		agenttest.Eventually(t, "the other shell to come to its end", func() bool { return !lock(o) })
		require.FileExists(t, filepath.Join(o.Home, "whole"))
	})
}

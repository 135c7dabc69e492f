package shellquote

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"mvdan.cc/sh/v3/syntax"
	"pgregory.net/rapid"
)

// shells are those that Word promises something of, as they are run to read a script, and where they can be told to
// behave as at a prompt, so.
func shells(t testing.TB) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for name, args := range map[string][]string{"sh": nil, "bash": {"--norc", "--noediting", "-o", "histexpand", "-i"},
		"dash": nil, "ksh": nil,
		"zsh": {"-f", "-o", "banghist", "-i"}} {
		if path, err := exec.LookPath(name); err == nil {
			all[name] = append([]string{path}, args...)
		}
	}
	require.NotEmpty(t, all)
	return all
}

// given runs a program with words in a shell and returns what the program was given.
func given(t require.TestingT, shell []string, dir string, words []string) []string {
	out := filepath.Join(dir, "out")
	_ = os.Remove(out)
	cmd := exec.Command(shell[0], shell[1:]...)
	cmd.Env = append(os.Environ(), "HISTFILE=", "PS1=", "PS2=", "TERM=dumb")
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader("echo earlier words\n" + Line(append([]string{"./given"}, words...)...) + "\n")
	said, err := cmd.CombinedOutput()
	b, rerr := os.ReadFile(out)
	require.NoError(t, rerr, "%s: %q: %v: %s", shell, words, err, said)
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}

func folder(t testing.TB) string {
	dir := t.TempDir()
	script := "#!/bin/sh\nprintf '%s\\0' \"$@\" >out\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "given"), []byte(script), 0o700))
	return dir
}

func TestShellsReadWhatWasMeant(t *testing.T) {
	words := []string{"", "plain", "two words", "it's", "it's!! and !e", "!e", "$HOME", "`id`", "a\\b", "~", "~root",
		"=ls", "a=b", "*", "[x]",
		"{a,b}", "a\nb", "tab\there", "ümläut", "-n", "#x", "\x1b[31m", "\xff\xfe", "a;b|c&d", "(x)", "<in", "^a^b", "''",
		`"`, "50%"}
	for name, shell := range shells(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, words, given(t, shell, folder(t), words))
		})
	}
}

func TestAnyTextIsOneWord(t *testing.T) {
	all := shells(t)
	dir := folder(t)
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.String().Filter(func(s string) bool { return !strings.Contains(s, "\x00") }), 1,
			8).Draw(t, "words")
		name := rapid.SampledFrom([]string{"sh", "bash", "dash", "ksh", "zsh"}).Draw(t, "shell")
		shell, ok := all[name]
		if !ok {
			t.Skip("it is not installed")
		}
		require.Equal(t, words, given(t, shell, dir, words))
	})
}

// What mvdan.cc/sh reads is another witness, of many more texts.
func TestAnyTextIsOneWordForAParser(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		argv := rapid.SliceOfN(rapid.String().Filter(func(s string) bool { return !strings.ContainsAny(s, "\x00\r") }), 1,
			8).Draw(t, "argv")
		f, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(Line(argv...)), "")
		require.NoError(t, err)
		require.Len(t, f.Stmts, 1)
		call, ok := f.Stmts[0].Cmd.(*syntax.CallExpr)
		require.True(t, ok)
		require.Empty(t, call.Assigns)
		var got []string
		for _, w := range call.Args {
			var b strings.Builder
			for _, p := range w.Parts {
				switch p := p.(type) {
				case *syntax.Lit:
					b.WriteString(strings.ReplaceAll(p.Value, `\'`, `'`))
				case *syntax.SglQuoted:
					b.WriteString(p.Value)
				default:
					t.Fatalf("%T in %q", p, Line(argv...))
				}
			}
			got = append(got, b.String())
		}
		require.Equal(t, argv, got)
	})
}

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"mvdan.cc/sh/v3/shell"
	"mvdan.cc/sh/v3/syntax"

	"berth/assets"
	"berth/backend/agent/job/notify"
	"berth/backend/machine/image"
	"berth/backend/machine/profile"
	"berth/backend/service/config"
)

// blocks are the examples of a help page: what is indented by four.
func blocks(page string) (out []string) {
	var block []string
	end := func() {
		if text := strings.Trim(strings.Join(block, "\n"), "\n"); text != "" {
			out = append(out, text+"\n")
		}
		block = nil
	}
	for line := range strings.SplitSeq(page, "\n") {
		switch text, ok := strings.CutPrefix(line, "    "); {
		case ok:
			block = append(block, text)
		case line == "":
			block = append(block, "")
		default:
			end()
		}
	}
	end()
	return out
}

// TestExamplesOfHelpPages reads every example as what it is an example of does. Sizes are read by a test of
// backend/libvirt.
func TestExamplesOfHelpPages(t *testing.T) {
	seen := map[string]int{}
	for _, topic := range assets.HelpTopics() {
		page, ok := assets.HelpPage(topic)
		require.True(t, ok)
		for _, text := range blocks(page) {
			kind := ""
			file := filepath.Join(t.TempDir(), "file.toml")
			require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
			switch {
			case strings.HasPrefix(text, "berth "):
				kind = "berth"
				for line := range strings.Lines(text) {
					// What is said of a line stands some way behind it.
					line, _, _ = strings.Cut(line, "   ")
					parses(t, topic, line)
				}
			case strings.HasPrefix(text, "[[size]]"):
				kind = "sizes"
			case strings.HasPrefix(text, "[[image]]"):
				kind = "images"
				_, err := image.Load(file, runtime.GOARCH)
				require.NoError(t, err, "%s: %s", topic, text)
			case strings.HasPrefix(text, "title = "):
				kind = "profile"
				problems, err := profile.Load(t.TempDir()).LintFile(file)
				require.NoError(t, err, topic)
				require.Empty(t, problems, "%s: %s", topic, text)
			case strings.HasPrefix(text, "[notify."):
				kind = "notify"
				hooks, err := notify.Read(file)
				require.NoError(t, err, "%s: %s", topic, text)
				require.NotEmpty(t, hooks)
			case strings.HasPrefix(text, "[[rules]]"):
				kind = "rules"
				whole := "[notify.chat]\ncommand = 'true'\n[notify.mail]\ncommand = 'true'\n" + text
				require.NoError(t, os.WriteFile(file, []byte(whole), 0o600))
				f, err := notify.Load(file)
				require.NoError(t, err, "%s: %s", topic, text)
				require.Empty(t, f.Wrong)
				require.NotEmpty(t, f.Rules)
			case regexp.MustCompile(`^\[[a-z.]+\]\n`).MatchString(text):
				kind = "config"
				_, err := config.Load(file, func(string) string { return "" })
				require.NoError(t, err, "%s: %s", topic, text)
			case strings.HasPrefix(text, "{"):
				kind = "json"
				require.True(t, json.Valid([]byte(text)), "%s: %s", topic, text)
			case strings.HasPrefix(text, ":"):
				kind = "palette" // ui reads them
			default:
				kind = "shell"
				_, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(text), topic)
				require.NoError(t, err, "%s: %s", topic, text)
				require.NotContains(t, text, " = ", "%s: %s", topic, text)
			}
			seen[kind]++
		}
		for _, m := range regexp.MustCompile("(?s)`(berth [^`]*)`").FindAllStringSubmatch(page, -1) {
			named(t, topic, m[1])
			seen["inline"]++
		}
	}
	for _, kind := range []string{"berth", "sizes", "images", "profile", "config", "notify", "rules", "json", "palette", "shell", "inline"} {
		require.NotZero(t, seen[kind], "no example of %s was read", kind)
	}
}

// TestExamplesOfVerbs reads the examples that each verb gives of itself.
func TestExamplesOfVerbs(t *testing.T) {
	seen := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for line := range strings.Lines(c.Example) {
			// After a pipe, and not within quotes.
			if at := regexp.MustCompile(`(^|\| )berth `).FindStringIndex(strings.TrimSpace(line)); at != nil {
				text, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line)[at[0]:], "| "), " && ")
				text, _, _ = strings.Cut(text, " >")
				parses(t, c.CommandPath(), text)
				seen++
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newApp().root())
	require.Greater(t, seen, 20)
}

// find is the command of a line, and the words behind it.
func find(t *testing.T, where, line string) (*cobra.Command, []string) {
	t.Helper()
	line, _, _ = strings.Cut(strings.TrimSpace(line), " >")
	words, err := shell.Fields(line, func(string) string { return "" })
	require.NoError(t, err, "%s: %s", where, line)
	root := newApp().root()
	root.InitDefaultHelpCmd()
	cmd, rest, err := root.Find(words[1:])
	require.NoError(t, err, "%s: %s", where, line)
	require.True(t, cmd.HasParent(), "%s: there is no verb: %s", where, line)
	return cmd, rest
}

// parses reads a line as the program would.
func parses(t *testing.T, where, line string) {
	t.Helper()
	cmd, rest := find(t, where, line)
	require.NoError(t, cmd.ParseFlags(rest), "%s: %s", where, line)
	require.NoError(t, cmd.ValidateArgs(cmd.Flags().Args()), "%s: %s", where, line)
	require.True(t, cmd.Runnable(), "%s: %s", where, line)
}

// named reads what is called by its verb and flags in a sentence, where arguments may be left out.
func named(t *testing.T, where, line string) {
	t.Helper()
	cmd, rest := find(t, where, line)
	require.NoError(t, cmd.ParseFlags(rest), "%s: %s", where, line)
	if cmd.HasSubCommands() && len(cmd.Flags().Args()) > 0 && cmd.ValidArgsFunction == nil {
		require.NoError(t, cmd.ValidateArgs(cmd.Flags().Args()), "%s: %s", where, line)
	}
}

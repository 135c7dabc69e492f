package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/base/paths"
)

// What an error of the configuration points to must work while the configuration is broken.
func TestHintsOfConfigurationErrorsWork(t *testing.T) {
	for name, c := range map[string]struct{ text, env string }{
		"no such key":        {"[ui]\nthem = \"dark\"\n", ""},
		"no TOML":            {"foo = [\n", ""},
		"another type":       {"[ui]\nmouse = \"x\"\n", ""},
		"no such value":      {"[ui]\ntheme = \"x\"\n", ""},
		"too short":          {"[limits]\nsilence = \"1s\"\n", ""},
		"a wrong variable":   {"", "BERTH_UI_MOUSE=perhaps"},
		"a variable's value": {"", "BERTH_UI_THEME=x"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			w := newWorld(t)
			require.NoError(t, os.MkdirAll(w.home, 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(w.home, "config.toml"), []byte(c.text), 0o600))
			if c.env != "" {
				w.env = append(w.env, c.env)
			}
			r := w.run("ls")
			require.Equal(t, 2, r.code, r.err)
			for _, line := range regexp.MustCompile(`berth ((?:[a-z-]+ )*[a-z-]+)`).FindAllStringSubmatch(r.err, -1) {
				args := strings.Fields(line[1])
				cmd, rest, err := newApp().root().Find(args)
				if err != nil || !cmd.HasParent() {
					continue // the words of a sentence
				}
				hinted := w.run(args[:len(args)-len(rest)]...)
				require.Zero(t, hinted.code, "%s: %s fails: %s", r.err, cmd.CommandPath(), hinted.err)
			}
			// These help whoever mends it.
			for _, args := range [][]string{{"config", "path"}, {"config", "keys"}, {"help", "config"}, {"version"}, {"daemon", "stop"}} {
				r := w.run(args...)
				require.Zero(t, r.code, "%v: %s", args, r.err)
			}
			r = w.run("doctor")
			require.Equal(t, 1, r.code)
			require.Equal(t, 1, strings.Count("\n"+r.out, "\nfail"), "a failure is said once: %s", r.out)
		})
	}
	w := newWorld(t)
	require.NoError(t, os.MkdirAll(w.home, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(w.home, "config.toml"), []byte("[ui]\nthem = \"dark\"\n"), 0o600))
	require.Contains(t, w.run("ls").err, "berth config keys", "the hint is there")
}

func TestStateThatCantBeWritten(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	h := paths.Home{State: filepath.Join(file, "state"), Data: dir, Run: dir}
	checks := stateChecks(h)
	require.Len(t, checks, 1)
	require.Equal(t, "fail", checks[0].Status)
	require.Contains(t, checks[0].Message, file+" is no folder")
	require.Contains(t, checks[0].Fix, "BERTH_HOME")

	h.State = filepath.Join(dir, "not", "yet")
	require.Equal(t, "ok", stateChecks(h)[0].Status)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "nothing is left")

	why, fix := unwritable(dir, os.ErrPermission)
	require.Contains(t, why, "mode of "+dir)
	require.Contains(t, fix, "chmod")
	if os.Getuid() == 0 {
		require.NoError(t, os.Chown(dir, 54321, 54321))
		why, fix = unwritable(dir, os.ErrPermission)
		require.Contains(t, why, "belongs to user 54321")
		require.Contains(t, fix, "chown -R 0 "+dir)
	}
}

func TestChecksThatSayTheSameAreOneLine(t *testing.T) {
	same := api.Check{Area: "figures", Status: "warn", Message: "the disk is full"}
	one, two, other := same, same, same
	one.Name, two.Name, other.Name, other.Status = "one", "two", "other", "ok"
	got := together([]api.Check{one, other, two})
	require.Len(t, got, 2)
	require.Equal(t, "one, two", got[0].Name)
	require.Equal(t, other, got[1])
}

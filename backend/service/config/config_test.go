package config

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

func load(t *testing.T, text string, env map[string]string) (*Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return Load(path, func(k string) string { return env[k] })
}

func TestLayersAndOrigins(t *testing.T) {
	c, err := load(t, "[ui]\ntheme = \"dark\"\ncolumns = [\"name\", \"state\"]\n[daemon]\nidle = \"1h\"\n",
		map[string]string{"BERTH_UI_THEME": "light", "BERTH_UI_MOUSE": "false"})
	require.NoError(t, err)
	require.Equal(t, "light", c.UI.Theme)
	require.Equal(t, "BERTH_UI_THEME", c.Origin("ui.theme"))
	require.False(t, c.UI.Mouse)
	require.Equal(t, []string{"name", "state"}, c.UI.Columns)
	require.Contains(t, c.Origin("ui.columns"), "config.toml")
	require.Equal(t, time.Hour, time.Duration(c.Daemon.Idle))
	require.Equal(t, "default", c.Origin("defaults.backend"))
	require.Equal(t, "own", c.Settings()["ssh"]["transport"])
}

func TestMistakesNameTheirLine(t *testing.T) {
	for text, want := range map[string]string{
		"[ui]\nthemes = \"dark\"\n":   ":2:1: there is no key \"ui.themes\"",
		"[ui]\ntheme = 3\n":           ":2:",
		"[ui\n":                       ":1:",
		"[daemon]\nidle = \"soon\"\n": ":2:",
		"[ui]\ntheme = \"pink\"\n":    "must be one of auto, dark",
		"[daemon]\nidle = \"-4m\"\n":  "negative",
	} {
		_, err := load(t, text, nil)
		require.ErrorContains(t, err, want, text)
		require.Equal(t, api.CodeUsage, api.AsError(err).Code)
	}
	_, err := load(t, "", map[string]string{"BERTH_UI_ASCII": "perhaps"})
	require.ErrorContains(t, err, "BERTH_UI_ASCII")
}

func FuzzParse(f *testing.F) {
	f.Add("[ui]\ntheme = \"dark\"\n")
	f.Add("[backend.ssh]\nshare='/x'\n[daemon]\nidle=\"1h\"")
	f.Fuzz(func(t *testing.T, s string) {
		c := Default()
		if err := c.parse([]byte(s), "config.toml"); err != nil && api.AsError(err).Code != api.CodeUsage {
			t.Fatalf("an error without its code: %v", err)
		}
	})
}

package ui

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheBrowserIsTheUsersOwn gives a page to BROWSER as one argument, and says why it could not be opened.
func TestTheBrowserIsTheUsersOwn(t *testing.T) {
	dir := t.TempDir()
	got, own := filepath.Join(dir, "got"), filepath.Join(dir, "own")
	require.NoError(t, os.WriteFile(own, []byte("#!/bin/sh\necho \"$#\" \"$1\" > "+got+"\n"), 0o755))
	env := map[string]string{"BROWSER": own}
	open := browser(t.Context(), func(k string) string { return env[k] })
	require.NoError(t, open("http://127.0.0.1:8888/?a=$(b)"))
	b, err := os.ReadFile(got)
	require.NoError(t, err)
	require.Equal(t, "1 http://127.0.0.1:8888/?a=$(b)\n", string(b))
	require.NoError(t, os.WriteFile(own, []byte("#!/bin/sh\nexit 3\n"), 0o755))
	require.ErrorContains(t, open("http://127.0.0.1:1"), "exit status 3")
	env["BROWSER"] = filepath.Join(dir, "none")
	require.Nil(t, browser(t.Context(), func(k string) string { return env[k] }))
}

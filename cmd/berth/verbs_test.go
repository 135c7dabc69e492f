package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestVerbsAreCalledWhatTheTableSays holds the names by which verbs are found before they are built.
func TestVerbsAreCalledWhatTheTableSays(t *testing.T) {
	a := newApp()
	for _, v := range a.verbs() {
		require.Equal(t, v.name, v.make().Name())
		require.Equal(t, []string{v.name}, a.alone([]string{v.name, "--help"}))
	}
	require.Empty(t, a.alone([]string{"help", "ls"}), "help knows all of them")
	require.Empty(t, a.alone([]string{"__complete", "ls", ""}))
	require.Len(t, a.root("exec").Commands(), 1)
}

package ui

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/ui/data"
	"berth/ui/screen"
	"berth/ui/theme"
)

// Another word for a command is no other command's name, and belongs to a command that there is.
func TestOtherWordsForCommands(t *testing.T) {
	m := NewModel(&screen.Env{Ctx: t.Context(), Store: data.NewStore(), Now: time.Now}, theme.Options{}, Hooks{}, 80, 24)
	names, seen := map[string]bool{}, map[string]string{}
	for _, v := range m.verbs() {
		names[v.Name] = true
		require.NotEmpty(t, v.Also, "%s is found by its name only", v.Name)
	}
	for verb, words := range otherWords {
		require.True(t, names[verb], "there is no command %s", verb)
		for _, w := range words {
			require.Equal(t, strings.ToLower(w), w)
			require.Equal(t, strings.Join(strings.Fields(w), " "), w)
			require.False(t, names[w], "%s is a command itself", w)
			require.Empty(t, seen[w], "%s is a word for two commands: the first would run", w)
			seen[w] = verb
		}
	}
}

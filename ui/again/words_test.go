package again

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/base/shellquote"
)

func TestWords(t *testing.T) {
	got, err := words(` python  train.py --lr '0.1 x' "a \"b\" \\ $HOME" c\ d '' e''f'g h' `)
	require.NoError(t, err)
	require.Equal(t, []string{"python", "train.py", "--lr", "0.1 x", `a "b" \ $HOME`, "c d", "", "efg h"}, got)
	for _, bad := range []string{"'", `a "b`, `a\`, `"\"`} {
		_, err := words(bad)
		require.Error(t, err, bad)
	}
}

// FuzzWords: what is shown of arguments is read as these arguments.
func FuzzWords(f *testing.F) {
	f.Add("python train.py", "it's", "\n\\")
	f.Add("", "A=b", "\"")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if strings.Contains(a+b+c, "\x00") {
			t.Skip()
		}
		got, err := words(shellquote.Line(a, b, c))
		require.NoError(t, err)
		require.Equal(t, []string{a, b, c}, got)
		_, _ = words(a)
	})
}

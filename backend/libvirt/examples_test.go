package libvirt

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/assets"
)

// The sizes that the help page shows are read as those of a user are.
func TestSizesOfTheHelpPage(t *testing.T) {
	page, ok := assets.HelpPage("machines")
	require.True(t, ok)
	_, rest, ok := strings.Cut(page, "\n    [[size]]\n")
	require.True(t, ok)
	text, _, ok := strings.Cut("    [[size]]\n"+rest, "\n\n")
	require.True(t, ok)
	sizes, err := parseSizes([]byte(text), "sizes.toml")
	require.NoError(t, err, text)
	require.Len(t, sizes, 1)
	require.Equal(t, "big", sizes[0].Name)
}

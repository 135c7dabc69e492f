package text

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNatural(t *testing.T) {
	want := []string{"", "Box-1", "box-2", "box-010", "box-10a", "gpu", "gpu-2", "gpu-10"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, Natural)
	require.Equal(t, want, got)
}

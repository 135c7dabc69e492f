package text

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMatcher(t *testing.T) {
	for _, q := range []string{"", "  ", "!", " ! "} {
		require.Nil(t, Matcher(q), "%q asks for nothing", q)
	}
	for _, c := range []struct {
		query, hay string
		want       bool
	}{
		{"Train", "resnet TRAINING", true}, {"train idle", "training, idle", true}, {"train idle", "training", false},
		{"!train", "training", false}, {"!train", "idle", true}, {"! train idle", "training", true}, {"!train idle", "training, idle", false},
	} {
		require.Equal(t, c.want, Matcher(c.query)(c.hay), "%q in %q", c.query, c.hay)
	}
}

func TestNatural(t *testing.T) {
	want := []string{"", "Box-1", "box-2", "box-010", "box-10a", "gpu", "gpu-2", "gpu-10"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, Natural)
	require.Equal(t, want, got)
}

package environ

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMerge(t *testing.T) {
	require.Equal(t, []string{"A=2", "B=1", "C=x=y"},
		Merge([]string{"A=1", "B=1", "A=2"}, "C=x=y", "=no", "no", "N\x00=1"))
	require.Equal(t, "", Lookup(nil, "A"))
}

package supervise

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What is asked for once more while it is done is done; what is asked for instead is not.
func TestSettle(t *testing.T) {
	d := Dir(t.TempDir())
	ran := 0
	f := func() error { ran++; return nil }
	require.NoError(t, d.Ask(ActionStop))
	stop, ok, err := d.Request()
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, d.Ask(ActionStop))
	again, err := d.settle(stop, f)
	require.NoError(t, err)
	require.False(t, again)
	require.Equal(t, 1, ran)
	require.NoError(t, d.Ask(ActionDelete))
	again, err = d.settle(stop, f)
	require.NoError(t, err)
	require.True(t, again)
	require.Equal(t, 1, ran)
}

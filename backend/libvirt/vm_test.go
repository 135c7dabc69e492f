//go:build vm

package libvirt

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend"
	"berth/backend/backendtest"
	"berth/backend/libvirt/libvirttest"
)

// open starts a daemon and a backend whose images are these guests.
func openVM(t *testing.T, guests ...string) *bench {
	t.Helper()
	d := libvirttest.Start(t)
	var gs []libvirttest.Guest
	for _, g := range guests {
		gs = append(gs, libvirttest.GetGuest(t, g))
	}
	b := &bench{d: d, key: newKey(t)}
	b.env = environment(t, d, libvirttest.WriteCatalogue(t, t.TempDir(), gs...))
	var err error
	b.Backend, err = New(b.env)
	require.NoError(t, err)
	return b
}

func TestSuite(t *testing.T) {
	b := openVM(t, libvirttest.Tiny)
	backendtest.Suite{
		Open: func(t *testing.T) backend.Backend {
			n, err := New(b.env)
			require.NoError(t, err)
			return withKey{n, b.key}
		},
		Wait: 2 * time.Minute,
	}.Run(t)
}

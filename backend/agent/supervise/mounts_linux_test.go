package supervise

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMountPointsWithBlanks(t *testing.T) {
	require.Equal(t, []string{"/", "/a b"}, mountPoints([]byte("21 1 8:1 / / rw - ext4 /dev/sda rw\n22 21 0:5 / /a\\040b rw - tmpfs t rw\n")))
}

func FuzzMountPoints(f *testing.F) {
	f.Add([]byte("21 1 8:1 / / rw - ext4 /dev/sda rw\n22 21 0:5 / /a\\040b rw - tmpfs t rw\n"))
	f.Fuzz(func(t *testing.T, b []byte) { mountPoints(b) })
}

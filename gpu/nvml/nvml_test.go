package nvml

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFieldValue(t *testing.T) {
	raw := func(v uint64) (b [8]byte) { binary.LittleEndian.PutUint64(b[:], v); return b }
	const rubbish = 0xdeadbeef << 32 // what stands beside a short value
	negative := int32(-5)
	for _, c := range []struct {
		kind uint32
		raw  uint64
		want uint64
	}{
		{0, math.Float64bits(7.9), 7}, {0, math.Float64bits(-1), 0}, {0, math.Float64bits(math.NaN()), 0},
		{0, math.Float64bits(math.Inf(1)), 0},
		{1, rubbish | 42, 42}, {2, 1 << 40, 1 << 40}, {3, 1 << 63, 1 << 63}, {4, math.MaxUint64, 0}, {4, 9, 9},
		{5, rubbish | uint64(uint32(negative)), 0}, {5, rubbish | 42, 42}, {6, rubbish | 0xf0001, 1},
	} {
		require.Equal(t, c.want, FieldValue(c.kind, raw(c.raw)), "kind %d, %#x", c.kind, c.raw)
	}
}

func TestReasons(t *testing.T) {
	require.Equal(t, []string{}, Reasons(0))
	require.Equal(t, []string{"idle"}, Reasons(1))
	require.Equal(t, []string{"power cap", "hardware slowdown", "thermal (hardware)"}, Reasons(0x4c))
	require.Equal(t, []string{}, Reasons(1<<40), "a reason that is newer than this program")
}

// Each failure of the driver as a whole says what to do, and can be told apart.
func TestFailures(t *testing.T) {
	for code, kind := range map[Return]error{VersionMismatch: ErrMismatch, DriverNotLoaded: ErrNotLoaded,
		NoPermission: ErrPermission, OperatingSystem: ErrPermission, Unknown: ErrDriver, 4711: ErrDriver} {
		err := Failure(code, "starting")
		require.ErrorIs(t, err, kind)
		require.Greater(t, len(err.Error()), len(kind.Error())+10, "%v", err)
	}
	t.Setenv(LibraryVariable, "/x")
	require.ErrorContains(t, noLibrary(errors.New("no such file")), LibraryVariable)
	require.Equal(t, []string{"/x"}, paths())
	t.Setenv(LibraryVariable, "")
	require.Equal(t, "libnvidia-ml.so.1", paths()[0])
	require.ErrorIs(t, noLibrary(errors.New("no such file")), ErrNoLibrary)
}

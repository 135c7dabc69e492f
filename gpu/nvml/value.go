package nvml

import (
	"encoding/binary"
	"math"
)

// FieldValue reads the union of a field's value by its kind; numbers below zero and fractions are cut.
func FieldValue(kind uint32, b [8]byte) uint64 {
	v := binary.LittleEndian.Uint64(b[:])
	switch kind {
	case 0: // double
		f := math.Float64frombits(v)
		if !(f > 0) || f >= 1<<63 {
			return 0
		}
		return uint64(f)
	case 1: // unsigned int
		return uint64(uint32(v))
	case 4: // signed long long
		return uint64(max(int64(v), 0))
	case 5: // signed int
		return uint64(max(int32(v), 0))
	case 6: // unsigned short
		return uint64(uint16(v))
	}
	return v
}

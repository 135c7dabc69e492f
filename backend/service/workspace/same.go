package workspace

import (
	"reflect"

	"berth/backend/service/store"
)

// sameRecord compares two records, leaving out when they were observed: unchanged values are neither
// written nor shown again.
func sameRecord(a, b *store.Instance) bool {
	x, y := *a, *b
	x.ObservedAt, y.ObservedAt = nil, nil
	return reflect.DeepEqual(&x, &y)
}

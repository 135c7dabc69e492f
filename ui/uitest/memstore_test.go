package uitest

import (
	"testing"

	"berth/backend/service/store"
	"berth/backend/service/store/storetest"
)

// TestStoreInMemory holds the store in memory to what the daemon's does.
func TestStoreInMemory(t *testing.T) {
	stores := map[string]*memStore{}
	storetest.Run(t, func(_ *testing.T, dir string) store.Store {
		if stores[dir] == nil {
			stores[dir] = newMemStore()
		}
		return stores[dir]
	})
}

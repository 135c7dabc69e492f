package libvirttest

import (
	"os"
	"testing"
)

// Long leaves a test to the long form: what it tries is tried by others as well, with a backend that is not real or
// with fewer machines, and each real machine costs CI half a minute.
func Long(t *testing.T) {
	t.Helper()
	if os.Getenv("BERTH_CHAOS") == "" {
		t.Skip("only in the long form: BERTH_CHAOS=1 make e2e-vm")
	}
}

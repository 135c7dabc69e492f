package mem

import (
	"testing"
	"time"

	"berth/backend"
	"berth/backend/backendtest"
)

func TestSuite(t *testing.T) {
	b := New()
	b.Delay = 10 * time.Millisecond
	b.Line = backend.Line{Socket: "/nowhere"}
	backendtest.Suite{Open: func(*testing.T) backend.Backend { return b }}.Run(t)
}

// TestSuiteInAnAccount is the same in one of several accounts: that of callers without a profile.
func TestSuiteInAnAccount(t *testing.T) {
	b := New()
	b.Line = backend.Line{Socket: "/nowhere"}
	b.Accounts = map[string]Account{"": {ID: "111"}, "b": {ID: "222"}}
	backendtest.Suite{Open: func(*testing.T) backend.Backend { return b }}.Run(t)
	if v := Violations(b); len(v) > 0 {
		t.Fatal(v)
	}
}

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

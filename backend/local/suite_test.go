package local

import (
	"testing"

	"berth/backend"
	"berth/backend/backendtest"
)

func TestSuite(t *testing.T) {
	b := open(t, nil)
	backendtest.Suite{Open: func(t *testing.T) backend.Backend {
		again, err := New(b.env)
		if err != nil {
			t.Fatal(err)
		}
		return again
	}}.Run(t)
}

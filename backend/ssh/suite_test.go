package ssh

import (
	"path/filepath"
	"testing"

	"berth/backend"
	"berth/backend/backendtest"
	"berth/backend/transport/ssh/sshdtest"
)

func TestSuite(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	config := sshdtest.Config(t, s.Stanza("box", filepath.Join(t.TempDir(), "known_hosts"),
		"StrictHostKeyChecking accept-new"))
	backendtest.Suite{
		Open: func(t *testing.T) backend.Backend { b, _ := open(t, config); return b },
		Adopt: func(*testing.T) backend.AdoptSpec {
			return backend.AdoptSpec{Token: "op-suite", Name: "box", Target: "box"}
		},
	}.Run(t)
}

// Package sshdtest starts real OpenSSH servers for tests: each on a loopback port of its own, with its
// own host key, configuration and home folder, gone when the test ends.
//
//	s := sshdtest.Start(t, sshdtest.Options{NoSFTP: true})
//	// s.Config() is a stanza for an ssh configuration file; s.Target() says user, host and port.
//
// A test is skipped where there is no sshd.
package sshdtest

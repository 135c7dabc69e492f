// Package leasetest has what tests of several users on one host share.
package leasetest

import (
	"os"
	"testing"
)

// SeveralUsers has a test be several users under the strictest of the kernel's rules for files of others in a folder
// that all can write to (fs.protected_regular). It is skipped where it can't be several users.
func SeveralUsers(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: nobody else can be three users")
	}
	const rule = "/proc/sys/fs/protected_regular"
	if was, err := os.ReadFile(rule); err == nil && os.WriteFile(rule, []byte("2"), 0) == nil {
		t.Cleanup(func() { _ = os.WriteFile(rule, was, 0) })
	} else {
		t.Log("fs.protected_regular stays as it is")
	}
}

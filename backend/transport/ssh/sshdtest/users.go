package sshdtest

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// NewUser adds a user of the system with that login shell and a fresh home folder, removed with
// everything in it when the test ends. Where users can't be added the test is skipped.
func NewUser(t testing.TB, shell string) (name, home string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("adding a user for this test needs root")
	}
	if _, err := exec.LookPath("useradd"); err != nil {
		t.Skip("adding a user for this test needs useradd")
	}
	if _, err := os.Stat(shell); err != nil {
		t.Skipf("this test needs %s: install it", shell)
	}
	var b [4]byte
	_, _ = rand.Read(b[:])
	name = "berth-t" + hex.EncodeToString(b[:])
	home = filepath.Join(tempDir(t), "home")
	// The password * lets nobody in by password but, unlike !, does not lock the account for sshd.
	if out, err := exec.Command("useradd", "-m", "-d", home, "-s", shell, "-p", "*", name).CombinedOutput(); err != nil {
		t.Fatalf("useradd: %v: %s", err, out)
	}
	t.Cleanup(func() {
		_ = exec.Command("crontab", "-u", name, "-r").Run() // userdel leaves it; there may be none
		if out, err := exec.Command("userdel", "-f", name).CombinedOutput(); err != nil {
			t.Logf("userdel: %v: %s", err, out)
		}
	})
	return name, home
}

package knownhosts

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"

	"berth/backend/base/flock"
)

// lockLimit is how long another program may hold the file's lock before it is written to all the same.
const lockLimit = 5 * time.Second

// Add appends a key for n to file, making it (0600) and its folder (0700) where they are missing.
// The name is hashed if hash is set. The line is written at once by an appending write, under a lock:
// two programs that add at the same time do not harm each other.
func Add(file string, n Name, key ssh.PublicKey, hash bool) error {
	name := n.String()
	if hash {
		name = hashed(name)
	}
	line := fmt.Sprintf("%s %s %s\n", name, key.Type(), base64.StdEncoding.EncodeToString(key.Marshal()))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("making the folder of known host keys: %w", err)
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("opening the file of known host keys: %w", err)
	}
	defer f.Close()
	// A file system without locks is no reason to lose the key: appending is safe enough there.
	// Nor is somebody who never releases the lock.
	ctx, cancel := context.WithTimeout(context.Background(), lockLimit)
	defer cancel()
	_ = flock.Wait(ctx, f, nil)
	if st, err := f.Stat(); err == nil && st.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, st.Size()-1); err == nil && last[0] != '\n' {
			line = "\n" + line
		}
	}
	if _, err := f.WriteString(line); err != nil {
		return fmt.Errorf("adding to the known host keys: %w", err)
	}
	return nil
}

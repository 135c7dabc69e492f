// Package atomicfile writes small JSON records that survive a crash at any moment: a reader finds the
// old record or the new one, never half of one.
package atomicfile

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// maxRecord bounds what Read accepts, in bytes: a record is a page, not a database.
const maxRecord = 1 << 20

// Write replaces the record at path (mode 0600) by v as JSON.
func Write(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	return Replace(path, append(b, '\n'), 0o600)
}

// Replace replaces the file at path by b, with these permissions, durably. The temporary file stands in the same
// folder, so that no other file system's being full matters.
func Replace(path string, b []byte, perm os.FileMode) error {
	dir := filepath.Dir(path)
	err := renameio.WriteFile(path, b, perm, renameio.WithTempDir(dir), renameio.WithStaticPermissions(perm))
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return SyncDir(dir)
}

// SyncDir makes names in dir durable: renames and removals.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Read decodes the record at path into v. Unknown fields are ignored: a newer build may have written it.
func Read(path string, v any) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	if fi.Size() > maxRecord {
		return fmt.Errorf("%s has %d bytes: that is no record of Berth", path, fi.Size())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

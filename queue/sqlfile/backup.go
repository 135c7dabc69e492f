package sqlfile

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
)

// CopyPath is where the copy of a file stands that was made before it was brought from a version to a newer one.
func CopyPath(path string, version int) string { return fmt.Sprintf("%s.version-%d", path, version) }

// backup copies a file as it is, whatever of it is in the WAL, so that the build that wrote it can go back to it. A
// copy that is there already, of a migration that came to nothing, is replaced: the file may have changed since.
func backup(ctx context.Context, db *sql.DB, path string, version int) (err error) {
	to := CopyPath(path, version)
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(to)+".*") // with 0600: VACUUM INTO takes an empty file
	if err != nil {
		return err
	}
	defer func() {
		_ = f.Close()
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", f.Name()); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), to); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(to))
}

// syncFolder makes a rename in a folder durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

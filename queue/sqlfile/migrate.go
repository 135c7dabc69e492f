package sqlfile

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// Migration brings a file from the version before it to Version.
type Migration struct {
	Version int
	Name    string
	SQL     string
}

// Migrations reads the files NUMBER_NAME.sql of a folder, in order. Their numbers must run from 1 without a gap.
func Migrations(files fs.FS, dir string) ([]Migration, error) {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, err
	}
	var ms []Migration
	for _, e := range entries {
		num, _, ok := strings.Cut(e.Name(), "_")
		v, err := strconv.Atoi(num)
		if !ok || err != nil {
			return nil, fmt.Errorf("migration %s has no number", e.Name())
		}
		b, err := fs.ReadFile(files, dir+"/"+e.Name())
		if err != nil {
			return nil, err
		}
		ms = append(ms, Migration{v, e.Name(), string(b)})
	}
	slices.SortFunc(ms, func(a, b Migration) int { return a.Version - b.Version })
	for i, m := range ms {
		if m.Version != i+1 {
			return nil, fmt.Errorf("migration %s should have number %d", m.Name, i+1)
		}
	}
	return ms, nil
}

// migrate brings db from version have to the newest, in one transaction: whatever fails, the file is as it was.
func migrate(ctx context.Context, db *sql.DB, have int, ms []Migration) error {
	if have >= len(ms) {
		return nil
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("bringing it from version %d to %d: %w", have, len(ms), err)
	}
	for _, m := range ms[have:] {
		if _, err := tx.ExecContext(ctx, m.SQL); err != nil {
			_ = tx.Rollback()
			return fmt.Errorf("migration %s: %w", m.Name, err)
		}
	}
	// PRAGMA takes no parameters; the number is ours.
	if _, err := tx.ExecContext(ctx, "PRAGMA user_version = "+strconv.Itoa(len(ms))); err != nil {
		_ = tx.Rollback()
		return fmt.Errorf("noting version %d: %w", len(ms), err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("bringing it from version %d to %d: %w", have, len(ms), err)
	}
	return nil
}

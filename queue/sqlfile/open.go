package sqlfile

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver
)

// File is an open file.
type File struct {
	Write *sql.DB // one connection; transactions take the write lock when they begin
	Read  *sql.DB // with a WAL, who reads does not wait for who writes
	Path  string
}

// NewerError is returned for a file that a newer build wrote.
type NewerError struct {
	Path        string
	Have, Known int // versions: the file's, and the newest that this build knows
}

// Error implements error.
func (e *NewerError) Error() string {
	return fmt.Sprintf("%s has version %d, this Berth knows up to %d: a newer Berth wrote it", e.Path, e.Have, e.Known)
}

// Open opens or makes the file at path and brings it to the newest version. The folder must exist. After an unclean end
// the file is checked as a whole.
func Open(ctx context.Context, path string, ms []Migration) (*File, error) {
	have, err := peekVersion(ctx, path)
	if err != nil {
		return nil, err
	}
	if have > len(ms) {
		return nil, &NewerError{path, have, len(ms)}
	}
	unclean := false
	if _, err := os.Stat(path + "-wal"); err == nil {
		unclean = true
	}
	db, err := sql.Open("sqlite", fileURL(path, "_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)",
		"_pragma=busy_timeout(5000)", "_pragma=foreign_keys(ON)", "_txlock=immediate"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	f := &File{Write: db, Path: path}
	if unclean {
		err = f.check(ctx)
	}
	if err == nil && have > 0 && have < len(ms) {
		if err = backup(ctx, db, path, have); err != nil {
			err = fmt.Errorf("copying, before it is brought from version %d to %d: %w", have, len(ms), err)
		}
	}
	if err == nil {
		err = migrate(ctx, db, have, ms)
	}
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	// It connects when it is first asked.
	f.Read, err = sql.Open("sqlite", fileURL(path, "_pragma=busy_timeout(5000)", "_pragma=query_only(ON)"))
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	f.Read.SetMaxOpenConns(2)
	f.Read.SetConnMaxIdleTime(time.Minute)
	return f, nil
}

// Close ends the use; the WAL is folded into the file.
func (f *File) Close() error { return errors.Join(f.Read.Close(), f.Write.Close()) }

// fileURL names a file to SQLite, with parameters NAME=VALUE (sqlite.org/uri.html).
func fileURL(path string, parameters ...string) string {
	return "file:" + urlEscape.Replace(path) + "?" + strings.Join(parameters, "&")
}

var urlEscape = strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23")

// peekVersion reads the file's version without writing a byte; 0 where there is no file yet.
func peekVersion(ctx context.Context, path string) (int, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if _, err := os.Stat(path + "-wal"); errors.Is(err, os.ErrNotExist) {
		// Who wrote it ended well, so that its header counts. To ask SQLite would leave files beside it.
		var header [100]byte
		n, err := io.ReadFull(f, header[:])
		switch {
		case n == 0 && err == io.EOF:
			return 0, nil
		case err == nil && string(header[:16]) == "SQLite format 3\x00":
			return int(binary.BigEndian.Uint32(header[60:])), nil
		}
	}
	// Its last writes are in the WAL. What this may write anew is the WAL's index (-shm), which has no data.
	db, err := sql.Open("sqlite", fileURL(path, "mode=ro"))
	if err != nil {
		return 0, err
	}
	defer db.Close()
	var v int
	err = db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&v)
	return v, err
}

// check looks the whole file through.
func (f *File) check(ctx context.Context) error {
	var res string
	if err := f.Write.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&res); err != nil {
		return err
	}
	if res != "ok" {
		first, _, _ := strings.Cut(strings.TrimPrefix(res, "*** in database main ***\n"), "\n")
		return fmt.Errorf("%w (%s)", ErrCorrupt, first)
	}
	return nil
}

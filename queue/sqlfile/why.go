package sqlfile

import (
	"errors"
	"io/fs"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrCorrupt is returned where what a file has is not what was written to it.
var ErrCorrupt = errors.New("the database is corrupted")

// Kind is what kind of failure an error of SQLite is.
type Kind int

// The kinds.
const (
	Other    Kind = iota
	Corrupt       // the file is damaged, or is none of SQLite's
	Full          // the disk is full
	Unusable      // it can't be opened or written: rights, or a file system that is read-only
	Failing       // the disk is full or failing
)

// Why says of what kind an error is.
func Why(err error) Kind {
	var e *sqlite.Error
	code := 0
	if errors.As(err, &e) {
		code = e.Code() & 0xff // the primary result code
	}
	switch {
	case code == sqlite3.SQLITE_CORRUPT, code == sqlite3.SQLITE_NOTADB, errors.Is(err, ErrCorrupt):
		return Corrupt
	case code == sqlite3.SQLITE_FULL:
		return Full
	case code == sqlite3.SQLITE_READONLY, code == sqlite3.SQLITE_CANTOPEN, errors.Is(err, fs.ErrPermission):
		return Unusable
	case code == sqlite3.SQLITE_IOERR:
		return Failing
	}
	return Other
}

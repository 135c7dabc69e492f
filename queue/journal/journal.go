package journal

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"berth/queue/sqlfile"
)

//go:embed migrations/*.sql
var migrationFS embed.FS

// The names of the files in a journal's folder.
const (
	fileName    = "jobs.db"
	numbersName = "numbers"
)

// ErrFull is returned where the disk has no room for a change. Nothing of the change was written.
var ErrFull = errors.New("the disk is full")

// Journal keeps jobs. Commit, Raise, Forget and Seq are for one goroutine; reading is for any.
type Journal struct {
	file  *sqlfile.File
	path  string
	epoch string
	told  string

	numbers *numbers
	seq     int64 // of the last change that was committed
	swept   int64 // up to this number UUIDs are those of jobs that are there
	write   statements
	reads   prepared
}

// Exists reports whether there is a journal in a folder.
func Exists(dir string) bool {
	for _, name := range []string{fileName, numbersName} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// Open opens or makes the journal in a folder, which must exist.
func Open(ctx context.Context, dir string) (*Journal, error) {
	ms, err := sqlfile.Migrations(migrationFS, "migrations")
	if err != nil {
		return nil, err
	}
	return openWith(ctx, dir, ms)
}

func openWith(ctx context.Context, dir string, ms []sqlfile.Migration) (j *Journal, err error) {
	j = &Journal{path: filepath.Join(dir, fileName)}
	j.file, err = sqlfile.Open(ctx, j.path, ms)
	if sqlfile.Why(err) == sqlfile.Corrupt {
		if j.told, err = setAside(j.path, err); err != nil {
			return nil, err
		}
		j.file, err = sqlfile.Open(ctx, j.path, ms)
	}
	var newer *sqlfile.NewerError
	if errors.As(err, &newer) {
		return nil, fmt.Errorf("the journal of jobs %w: it was not touched", err)
	} else if err != nil {
		return nil, fmt.Errorf("opening the journal of jobs %s: %w", j.path, err)
	}
	defer func() {
		if err != nil {
			_ = j.file.Close()
		}
	}()
	if err := j.begin(ctx); err != nil {
		return nil, fmt.Errorf("opening the journal of jobs %s: %w", j.path, err)
	}
	if j.numbers, err = j.openNumbers(ctx, filepath.Join(dir, numbersName)); err != nil {
		return nil, fmt.Errorf("finding the next number of a job: %w", err)
	}
	return j, nil
}

// begin reads what is to be known of the whole, and prepares what is written often.
func (j *Journal) begin(ctx context.Context) error {
	var last sql.NullInt64
	if err := j.file.Write.QueryRowContext(ctx, "SELECT max(seq) FROM jobs").Scan(&last); err != nil {
		return err
	}
	forgotten, err := j.number(ctx, factSeq) // the last change may be one of a job that is there no more
	if err != nil {
		return err
	}
	j.seq = max(last.Int64, forgotten)
	if j.swept, err = j.number(ctx, factSwept); err != nil {
		return err
	}
	if j.epoch, err = j.fact(ctx, factEpoch); err != nil {
		return err
	}
	if j.epoch == "" {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails (crypto/rand)
		j.epoch = hex.EncodeToString(b[:])
		if err := j.setFact(ctx, factEpoch, j.epoch); err != nil {
			return err
		}
	}
	return j.write.prepare(ctx, j.file.Write)
}

// setAside renames a file that can't be read, with what belongs to it, and says so.
func setAside(path string, cause error) (told string, err error) {
	to := ""
	for n := 1; ; n++ {
		to = path + ".broken-" + strconv.Itoa(n)
		if _, err := os.Lstat(to); err != nil {
			break
		}
	}
	for _, suffix := range []string{"-wal", "-shm", ""} { // the last: a new file never meets an old WAL
		if err := os.Rename(path+suffix, to+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("setting the damaged journal %s aside (%w): %w", path, cause, err)
		}
	}
	return fmt.Sprintf("the journal of jobs could not be read (%v): it is kept as %s, and a new one was begun", cause, to), nil
}

// Told says what the user must know of how the journal was opened; "": nothing.
func (j *Journal) Told() string { return j.told }

// Epoch names this journal: change numbers of another one mean nothing in it.
func (j *Journal) Epoch() string { return j.epoch }

// Seq is the number of the last change.
func (j *Journal) Seq() int64 { return j.seq }

// Close ends the use.
func (j *Journal) Close() error {
	return errors.Join(j.write.close(), j.reads.close(), j.file.Close())
}

// Keys of what is known of the whole.
const (
	factEpoch   = "epoch"   // a random name of this journal
	factSeq     = "seq"     // at least the change number of every job that was forgotten
	factNumber  = "number"  // at least the number of every job that was forgotten, or given elsewhere
	factSwept   = "swept"   // see Journal.swept
	factCeiling = "ceiling" // what the file of numbers says, as far as this journal knows
)

func (j *Journal) fact(ctx context.Context, key string) (string, error) {
	var v string
	err := j.file.Write.QueryRowContext(ctx, "SELECT value FROM facts WHERE key = ?", key).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return v, err
}

// number reads a fact that is a number; 0 where it is not there.
func (j *Journal) number(ctx context.Context, key string) (int64, error) {
	s, err := j.fact(ctx, key)
	if err != nil || s == "" {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %s is %q", sqlfile.ErrCorrupt, key, s)
	}
	return n, nil
}

func (j *Journal) setFact(ctx context.Context, key, value string) error {
	_, err := j.file.Write.ExecContext(ctx, "INSERT OR REPLACE INTO facts VALUES (?, ?)", key, value)
	return err
}

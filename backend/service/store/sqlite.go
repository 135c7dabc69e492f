package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"berth/backend/api"
)

// SQLite is the store of a personal workspace.
type SQLite struct {
	db   *sql.DB // one connection: the daemon is the only writer
	read *sql.DB // for what clients ask: with a WAL, who reads does not wait for who writes
	path string
}

var _ Store = (*SQLite)(nil)

// Open opens or makes the store at path and brings it to the newest version. The folder must exist.
func Open(ctx context.Context, path string) (*SQLite, error) {
	ms, err := migrations()
	if err != nil {
		return nil, err
	}
	return openWith(ctx, path, ms)
}

func openWith(ctx context.Context, path string, ms []migration) (*SQLite, error) {
	have, err := peekVersion(ctx, path)
	if err != nil {
		return nil, explain(path, "opening", err)
	}
	if have > len(ms) {
		return nil, api.Errorf(api.CodeStore,
			"the store %s has version %d, this Berth knows up to %d: a newer Berth wrote it", path, have, len(ms)).
			WithHint("use that newer version, or set BERTH_HOME to another folder; nothing was changed")
	}
	unclean := false
	if _, err := os.Stat(path + "-wal"); err == nil {
		unclean = true
	}
	q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(5000)", "foreign_keys(ON)"},
		"_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", fileURL(path, q))
	if err != nil {
		return nil, explain(path, "opening", err)
	}
	db.SetMaxOpenConns(1)
	s := &SQLite{db: db, path: path}
	if unclean {
		err = s.quickCheck(ctx)
	}
	if err == nil && have > 0 && have < len(ms) {
		if err = backup(ctx, db, path, have); err != nil {
			err = explain(path, fmt.Sprintf("copying, before it is brought from version %d to %d,", have, len(ms)), err)
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
		return nil, explain(path, "opening", err)
	}
	q = url.Values{"_pragma": {"busy_timeout(5000)", "query_only(ON)"}}
	if s.read, err = sql.Open("sqlite", fileURL(path, q)); err != nil { // it connects when it is first asked
		_ = db.Close()
		return nil, explain(path, "opening", err)
	}
	s.read.SetMaxOpenConns(2)
	s.read.SetConnMaxIdleTime(time.Minute)
	return s, nil
}

func fileURL(path string, q url.Values) string {
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

// peekVersion reads the store's version without writing a byte; 0 where there is no store yet.
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
	db, err := sql.Open("sqlite", fileURL(path, url.Values{"mode": {"ro"}}))
	if err != nil {
		return 0, err
	}
	defer db.Close()
	var v int
	err = db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&v)
	return v, err
}

// quickCheck is run where the last daemon did not end cleanly.
func (s *SQLite) quickCheck(ctx context.Context) error {
	var res string
	if err := s.db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&res); err != nil {
		return err
	}
	if res != "ok" {
		first, _, _ := strings.Cut(strings.TrimPrefix(res, "*** in database main ***\n"), "\n")
		return fmt.Errorf("%w (%s)", errCorrupt, first)
	}
	return nil
}

var errCorrupt = errors.New("the database is corrupted")

// explain turns an error of SQLite into one that says what to do.
func explain(path, doing string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var e *api.Error
	if errors.As(err, &e) {
		return err
	}
	wrapped := api.Errorf(api.CodeStore, "%s the store %s: %w", doing, path, err)
	var se *sqlite.Error
	code := 0
	if errors.As(err, &se) {
		code = se.Code() & 0xff // the primary result code
	}
	switch {
	case code == sqlite3.SQLITE_CORRUPT, code == sqlite3.SQLITE_NOTADB, errors.Is(err, errCorrupt):
		return wrapped.WithHint("the file is kept as it is: to go on with an empty store, move it away (mv %[1]s %[1]s.broken), then berth doctor lists what the backends still have; sqlite3 %[1]s .recover may save the rest", path)
	case code == sqlite3.SQLITE_FULL:
		return wrapped.WithHint("the disk is full: free some space, then try again; nothing was changed")
	case code == sqlite3.SQLITE_READONLY, code == sqlite3.SQLITE_CANTOPEN, errors.Is(err, os.ErrPermission),
		errors.Is(err, syscall.EROFS):
		return wrapped.WithHint("Berth must be able to write there; or set BERTH_HOME to a folder that can be written")
	case code == sqlite3.SQLITE_IOERR:
		return wrapped.WithHint("the disk is full or failing; nothing was changed")
	}
	return wrapped
}

// Close ends the store; the WAL is folded into the file.
func (s *SQLite) Close() error { return errors.Join(s.read.Close(), s.db.Close()) }

// Apply implements Store.
func (s *SQLite) Apply(ctx context.Context, cs ...*Change) error {
	return explain(s.path, "writing to", s.apply(ctx, cs))
}

func (s *SQLite) apply(ctx context.Context, cs []*Change) error {
	sqlTx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	t := &tx{ctx: ctx, Tx: sqlTx}
	for _, c := range cs {
		if err := t.apply(c); err != nil {
			_ = t.Rollback()
			return err
		}
	}
	if err := t.Commit(); err != nil {
		return err
	}
	for _, f := range t.after {
		f()
	}
	return nil
}

// stamp formats a time so that text order is time order.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000Z") }

// Instances implements Store.
func (s *SQLite) Instances(ctx context.Context) ([]Instance, error) {
	return queryDocs(ctx, s.path, s.db, func(in *Instance) *int64 { return &in.Revision },
		"SELECT revision, doc FROM instances")
}

// Instance implements Store.
func (s *SQLite) Instance(ctx context.Context, id string) (Instance, error) {
	ins, err := queryDocs(ctx, s.path, s.read, func(in *Instance) *int64 { return &in.Revision },
		"SELECT revision, doc FROM instances WHERE id = ?", id)
	if err != nil {
		return Instance{}, err
	}
	if len(ins) == 0 {
		return Instance{}, api.Errorf(api.CodeNotFound, "there is no instance with id %q", id)
	}
	return ins[0], nil
}

// Documents implements Store.
func (s *SQLite) Documents(ctx context.Context, instanceID string) ([]Document, error) {
	query, args := "SELECT instance_id, kind, revision, doc FROM documents", []any{}
	if instanceID != "" {
		query, args = query+" WHERE instance_id = ?", []any{instanceID}
	}
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, explain(s.path, "reading", err)
	}
	defer rows.Close()
	var out []Document
	for rows.Next() {
		var d Document
		if err := rows.Scan(&d.InstanceID, &d.Kind, &d.Revision, (*[]byte)(&d.Doc)); err != nil {
			return nil, explain(s.path, "reading", err)
		}
		out = append(out, d)
	}
	return out, explain(s.path, "reading", rows.Err())
}

// Unfinished implements Store.
func (s *SQLite) Unfinished(ctx context.Context) ([]Operation, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, revision, doc FROM operations WHERE done = 0 ORDER BY created, id")
	if err != nil {
		return nil, explain(s.path, "reading", err)
	}
	defer rows.Close()
	var out []Operation
	for rows.Next() {
		var id string
		var revision int64
		var doc sql.RawBytes
		if err := rows.Scan(&id, &revision, &doc); err != nil {
			return nil, explain(s.path, "reading", err)
		}
		var op Operation
		if err := json.Unmarshal(doc, &op); err != nil || op.ID != id {
			op = outline(doc)
			op.ID = id
			op.Unreadable = fmt.Errorf("%.300q is not what this build writes (%w)", doc, cmp.Or(err, errCorrupt))
		}
		op.Revision = revision
		out = append(out, op)
	}
	return out, explain(s.path, "reading", rows.Err())
}

// outline reads what tells an operation from others, of a document that another build wrote in another form.
func outline(doc []byte) (op Operation) {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(doc, &fields) // what is no object has no fields
	for name, to := range map[string]any{"kind": &op.Kind, "instance_id": &op.InstanceID, "instance": &op.Instance,
		"actor": &op.Actor, "created_at": &op.CreatedAt} {
		_ = json.Unmarshal(fields[name], to) // stays empty
	}
	return op
}

// Operation implements Store.
func (s *SQLite) Operation(ctx context.Context, id string) (Operation, error) {
	ops, err := queryDocs(ctx, s.path, s.read, func(op *Operation) *int64 { return &op.Revision },
		"SELECT revision, doc FROM operations WHERE id = ?", id)
	if err == nil && len(ops) == 0 {
		return Operation{}, api.Errorf(api.CodeNotFound, "there is no operation %q", id)
	}
	if err != nil {
		return Operation{}, err
	}
	return ops[0], nil
}

// queryDocs reads records: a query gives the revision of each, and its document.
func queryDocs[T any](ctx context.Context, path string, db *sql.DB, revision func(*T) *int64, query string,
	args ...any) ([]T, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, explain(path, "reading", err)
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		var v T
		var doc sql.RawBytes
		if err := rows.Scan(revision(&v), &doc); err != nil {
			return nil, explain(path, "reading", err)
		}
		if err := json.Unmarshal(doc, &v); err != nil {
			return nil, explain(path, "reading", fmt.Errorf("%w: %w in %.80q", errCorrupt, err, doc))
		}
		out = append(out, v)
	}
	return out, explain(path, "reading", rows.Err())
}

// Events implements Store.
func (s *SQLite) Events(ctx context.Context, q EventQuery) ([]api.Event, error) {
	query, args := "SELECT seq, doc FROM events WHERE seq > ?", []any{q.Since}
	if q.InstanceID != "" {
		query += " AND instance_id = ?"
		args = append(args, q.InstanceID)
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 1000
	}
	rows, err := s.read.QueryContext(ctx, "SELECT seq, doc FROM ("+query+" ORDER BY seq DESC LIMIT ?) ORDER BY seq",
		append(args, limit)...)
	if err != nil {
		return nil, explain(s.path, "reading", err)
	}
	defer rows.Close()
	out := []api.Event{}
	for rows.Next() {
		var seq int64
		var doc sql.RawBytes
		if err := rows.Scan(&seq, &doc); err != nil {
			return nil, explain(s.path, "reading", err)
		}
		var e api.Event
		if err := json.Unmarshal(doc, &e); err != nil {
			return nil, explain(s.path, "reading", fmt.Errorf("%w: event %d: %w", errCorrupt, seq, err))
		}
		e.Seq = seq
		out = append(out, e)
	}
	return out, explain(s.path, "reading", rows.Err())
}

// Setting implements Store.
func (s *SQLite) Setting(ctx context.Context, key string) (string, error) {
	var v string
	err := s.db.QueryRowContext(ctx, "SELECT value FROM settings WHERE key = ?", key).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return v, explain(s.path, "reading", err)
}

// Trim implements Store.
func (s *SQLite) Trim(ctx context.Context, keep int, t time.Time) error {
	_, err := s.db.ExecContext(ctx, "DELETE FROM events WHERE seq <= (SELECT max(seq) FROM events) - ?", keep)
	if err == nil {
		_, err = s.db.ExecContext(ctx, "DELETE FROM operations WHERE done = 1 AND created < ?", stamp(t))
	}
	return explain(s.path, "trimming", err)
}

package store

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
	"time"

	"berth/backend/api"
	"berth/queue/sqlfile"
)

// SQLite is the store of a personal workspace.
type SQLite struct {
	file *sqlfile.File
	db   *sql.DB // one connection: the daemon is the only writer
	read *sql.DB // for what clients ask
	path string
}

var _ Store = (*SQLite)(nil)

//go:embed migrations/*.sql
var migrationFS embed.FS

func migrations() ([]sqlfile.Migration, error) { return sqlfile.Migrations(migrationFS, "migrations") }

// Open opens or makes the store at path and brings it to the newest version. The folder must exist.
func Open(ctx context.Context, path string) (*SQLite, error) {
	ms, err := migrations()
	if err != nil {
		return nil, err
	}
	return openWith(ctx, path, ms)
}

func openWith(ctx context.Context, path string, ms []sqlfile.Migration) (*SQLite, error) {
	f, err := sqlfile.Open(ctx, path, ms)
	var newer *sqlfile.NewerError
	if errors.As(err, &newer) {
		return nil, api.Errorf(api.CodeStore, "the store %w", newer).
			WithHint("use that newer version, or set BERTH_HOME to another folder; nothing was changed")
	} else if err != nil {
		return nil, explain(path, "opening", err)
	}
	return &SQLite{file: f, db: f.Write, read: f.Read, path: path}, nil
}

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
	why := sqlfile.Why(err)
	if errors.Is(err, syscall.EROFS) {
		why = sqlfile.Unusable
	}
	switch why {
	case sqlfile.Corrupt:
		return wrapped.WithHint("the file is kept as it is: to go on with an empty store, move it away (mv %[1]s %[1]s.broken), then berth doctor lists what the backends still have; sqlite3 %[1]s .recover may save the rest", path)
	case sqlfile.Full:
		return wrapped.WithHint("the disk is full: free some space, then try again; nothing was changed")
	case sqlfile.Unusable:
		return wrapped.WithHint("Berth must be able to write there; or set BERTH_HOME to a folder that can be written")
	case sqlfile.Failing:
		return wrapped.WithHint("the disk is full or failing; nothing was changed")
	}
	return wrapped
}

// Close ends the store; the WAL is folded into the file.
func (s *SQLite) Close() error { return s.file.Close() }

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
			op.Unreadable = fmt.Errorf("%.300q is not what this build writes (%w)", doc, cmp.Or(err, sqlfile.ErrCorrupt))
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
			return nil, explain(path, "reading", fmt.Errorf("%w: %w in %.80q", sqlfile.ErrCorrupt, err, doc))
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
	if q.Called != "" {
		query += " AND (instance_id = ? OR doc ->> '$.instance' = ? COLLATE NOCASE)"
		args = append(args, q.Called, q.Called)
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
			return nil, explain(s.path, "reading", fmt.Errorf("%w: event %d: %w", sqlfile.ErrCorrupt, seq, err))
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

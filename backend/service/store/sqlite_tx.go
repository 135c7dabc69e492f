package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"

	"berth/backend/api"
)

// tx is a transaction in which changes are written.
type tx struct {
	*sql.Tx
	ctx   context.Context
	after []func() // what to put into the changes when it is committed
}

// apply writes one change.
func (t *tx) apply(c *Change) error {
	for _, r := range c.RemoveInstances {
		if err := t.remove(r); err != nil {
			return err
		}
	}
	for i := range c.Instances {
		if err := t.instance(&c.Instances[i]); err != nil {
			return err
		}
	}
	for i := range c.Documents {
		if err := t.document(&c.Documents[i]); err != nil {
			return err
		}
	}
	for _, d := range c.RemoveDocuments {
		if err := t.removeDocument(d); err != nil {
			return err
		}
	}
	for i := range c.Operations {
		if err := t.operation(&c.Operations[i]); err != nil {
			return err
		}
	}
	for _, e := range c.Events {
		if err := t.event(e); err != nil {
			return err
		}
	}
	for k, v := range c.Settings {
		if _, err := t.ExecContext(t.ctx,
			"INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", k,
			v); err != nil {
			return err
		}
	}
	return nil
}

// write executes a statement that writes a record, if its revision is the one that was seen. Where it writes nothing,
// query asks what the store has.
func (t *tx) write(what string, revision *int64, stmt string, args []any, query string, key ...any) error {
	res, err := t.ExecContext(t.ctx, stmt, args...)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return err
	}
	if n == 0 {
		var has int64
		err := t.QueryRowContext(t.ctx, query, key...).Scan(&has)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		return Conflict(what, has, *revision)
	}
	next := *revision + 1
	t.after = append(t.after, func() { *revision = next })
	return nil
}

const instanceRevision = "SELECT revision FROM instances WHERE id = ?"

func (t *tx) remove(r Removal) error { // its documents go with it: ON DELETE CASCADE
	return t.write("instance "+r.ID, new(r.Revision), "DELETE FROM instances WHERE id = ? AND revision = ?",
		[]any{r.ID, r.Revision}, instanceRevision, r.ID)
}

func (t *tx) instance(in *Instance) error {
	doc, err := json.Marshal(in)
	if err != nil {
		return err
	}
	stmt := "UPDATE instances SET name_key = ?, backend = ?, doc = ?, revision = revision + 1 WHERE id = ? AND revision = ?"
	args := []any{strings.ToLower(in.Name), in.Backend, string(doc), in.ID, in.Revision}
	if in.Revision == 0 {
		stmt = `INSERT INTO instances (name_key, backend, doc, id, revision) VALUES (?, ?, ?, ?, 1)
			ON CONFLICT (id) DO NOTHING`
		args = args[:4]
	}
	return t.write("instance "+in.Name, &in.Revision, stmt, args, instanceRevision, in.ID)
}

func (t *tx) document(d *Document) error {
	stmt := "UPDATE documents SET doc = ?, revision = revision + 1 WHERE instance_id = ? AND kind = ? AND revision = ?"
	args := []any{string(d.Doc), d.InstanceID, d.Kind, d.Revision}
	if d.Revision == 0 { // of an instance that is there
		stmt = `INSERT INTO documents (doc, instance_id, kind, revision) SELECT ?, id, ?, 1 FROM instances WHERE id = ?
			ON CONFLICT (instance_id, kind) DO NOTHING`
		args = []any{string(d.Doc), d.Kind, d.InstanceID}
	}
	return t.write(d.what(), &d.Revision, stmt, args, documentRevision, d.InstanceID, d.Kind)
}

const documentRevision = "SELECT revision FROM documents WHERE instance_id = ? AND kind = ?"

func (t *tx) removeDocument(d Document) error {
	return t.write(d.what(), new(d.Revision), "DELETE FROM documents WHERE instance_id = ? AND kind = ? AND revision = ?",
		[]any{d.InstanceID, d.Kind, d.Revision}, documentRevision, d.InstanceID, d.Kind)
}

func (t *tx) operation(op *Operation) error {
	doc, err := json.Marshal(op)
	if err != nil {
		return err
	}
	stmt := "UPDATE operations SET done = ?, doc = ?, revision = revision + 1 WHERE id = ? AND revision = ?"
	args := []any{op.State.Done(), string(doc), op.ID, op.Revision}
	if op.Revision == 0 {
		stmt = `INSERT INTO operations (done, doc, id, instance_id, created, revision) VALUES (?, ?, ?, ?, ?, 1)
			ON CONFLICT (id) DO NOTHING`
		args = append(args[:3], op.InstanceID, stamp(op.CreatedAt))
	}
	return t.write("operation "+op.ID, &op.Revision, stmt, args, "SELECT revision FROM operations WHERE id = ?", op.ID)
}

// event writes e. Its number stands in the column only.
func (t *tx) event(e *api.Event) error {
	bare := *e
	bare.Seq = 0
	doc, err := json.Marshal(bare)
	if err != nil {
		return err
	}
	res, err := t.ExecContext(t.ctx, "INSERT INTO events (time, instance_id, doc) VALUES (?, ?, ?)", stamp(e.Time),
		e.InstanceID, string(doc))
	if err != nil {
		return err
	}
	seq, err := res.LastInsertId()
	if err != nil {
		return err
	}
	t.after = append(t.after, func() { e.Seq = seq })
	return nil
}

package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"berth/queue"
	"berth/queue/sqlfile"
)

// statements are those that Commit runs often.
type statements struct{ insert, update, uuid *sql.Stmt }

func (s *statements) prepare(ctx context.Context, db *sql.DB) (err error) {
	for _, x := range []struct {
		to  **sql.Stmt
		sql string
	}{
		{&s.insert, "INSERT INTO jobs (number, idx, seq, state, done, submitted, ended, words, spec, status, service) " +
			"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"},
		{&s.update, "INSERT INTO jobs (number, idx, seq, state, done, submitted, ended, words, status) " +
			"VALUES (?, ?, ?, ?, ?, ?, ?, '', ?) ON CONFLICT (number, idx) DO UPDATE SET seq = excluded.seq, " +
			"state = excluded.state, done = excluded.done, ended = excluded.ended, status = excluded.status"},
		{&s.uuid, "INSERT INTO uuids VALUES (?, ?)"},
	} {
		if *x.to, err = db.PrepareContext(ctx, x.sql); err != nil {
			return err
		}
	}
	return nil
}

func (s *statements) close() error {
	var errs []error
	for _, st := range []*sql.Stmt{s.insert, s.update, s.uuid} {
		if st != nil {
			errs = append(errs, st.Close())
		}
	}
	return errors.Join(errs...)
}

// Commit writes changes, all or none, and returns when they are on the disk. Each gets a change number, which it sets
// in the change's Status. Where the disk has no room the error wraps ErrFull.
func (j *Journal) Commit(ctx context.Context, changes []queue.Change) error {
	if len(changes) == 0 {
		return nil
	}
	last := j.numbers.last
	for _, c := range changes {
		last = max(last, c.ID.Number)
	}
	if err := j.raise(ctx, last); err != nil {
		return err
	}
	if err := j.commit(ctx, changes); err != nil {
		return j.explain("writing to the journal of jobs", err)
	}
	j.seq += int64(len(changes))
	j.numbers.last = last
	return nil
}

func (j *Journal) commit(ctx context.Context, changes []queue.Change) error {
	tx, err := j.file.Write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	insert, update := tx.StmtContext(ctx, j.write.insert), tx.StmtContext(ctx, j.write.update)
	for i := range changes {
		c := &changes[i]
		c.Status.Seq = j.seq + int64(i) + 1
		if err := j.put(ctx, tx, insert, update, c); err != nil {
			return fmt.Errorf("job %s: %w", c.ID, err)
		}
	}
	return tx.Commit()
}

func (j *Journal) put(ctx context.Context, tx *sql.Tx, insert, update *sql.Stmt, c *queue.Change) error {
	status, err := encodeStatus(&c.Status)
	if err != nil {
		return err
	}
	s, index := &c.Status, indexOf(c.ID)
	if len(s.Owed) > 0 {
		if err := owe(ctx, tx, c.ID.Number, s.Due()); err != nil {
			return err
		}
	}
	if c.Spec == nil {
		_, err = update.ExecContext(ctx, c.ID.Number, index, s.Seq, s.State, s.State.Done(), millis(s.SubmittedAt),
			millis(s.EndedAt), status)
		return err
	}
	spec, err := encodeSpec(c.Spec)
	if err != nil {
		return err
	}
	_, err = insert.ExecContext(ctx, c.ID.Number, index, s.Seq, s.State, s.State.Done(), millis(s.SubmittedAt),
		millis(s.EndedAt), words(c.Spec), spec, status, c.Spec.Service != nil)
	if err == nil && c.Spec.UUID != "" {
		_, err = tx.StmtContext(ctx, j.write.uuid).ExecContext(ctx, c.Spec.UUID, c.ID.Number)
	}
	return err
}

// indexOf is the column idx of a job.
func indexOf(id queue.ID) int {
	if id.Element {
		return id.Index
	}
	return -1
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// words is what a search looks in.
func words(s *queue.Spec) string {
	return strings.ToLower(strings.ToValidUTF8(strings.Join([]string{s.Name, s.Group, s.User, strings.Join(s.Argv, " ")},
		"\n"), "?"))
}

// Limits is how much of what is done is kept.
type Limits struct {
	Jobs  int       // jobs and arrays
	After time.Time // what was submitted before goes
}

// Old are jobs and arrays that are done and beyond the limits, oldest first; at most 1000.
func (j *Journal) Old(ctx context.Context, l Limits) (old []int64, err error) {
	const atOnce = 1000
	rows, err := j.file.Read.QueryContext(ctx, `SELECT number FROM jobs WHERE idx < 0 AND done = 1 AND
		(submitted < ? OR number <= (SELECT number FROM jobs WHERE idx < 0 AND done = 1 ORDER BY number DESC LIMIT 1 OFFSET ?))
		ORDER BY number LIMIT ?`, millis(l.After), l.Jobs, atOnce)
	if err != nil {
		return nil, j.explain("looking for old jobs in", err)
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, j.explain("looking for old jobs in", err)
		}
		old = append(old, n)
	}
	if err := rows.Err(); err != nil {
		return nil, j.explain("looking for old jobs in", err)
	}
	return old, nil
}

// keepUUIDs is of how many of the newest jobs the UUIDs are kept though the jobs are forgotten. At most sweepUUIDs of
// older ones are looked at a time.
const (
	keepUUIDs  = 200_000
	sweepUUIDs = 5000
)

// Forget removes those of the jobs that are still done, with all elements of arrays.
func (j *Journal) Forget(ctx context.Context, old []int64) error {
	if err := j.forget(ctx, old); err != nil {
		return j.explain("forgetting old jobs in", err)
	}
	return nil
}

func (j *Journal) forget(ctx context.Context, old []int64) error {
	tx, err := j.file.Write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for _, n := range old {
		var done bool
		err := tx.QueryRowContext(ctx, "SELECT done FROM jobs WHERE number = ? AND idx = -1", n).Scan(&done)
		if errors.Is(err, sql.ErrNoRows) || err == nil && !done { // gone, or retried meanwhile
			continue
		} else if err != nil {
			return err
		}
		qs := []string{"DELETE FROM jobs WHERE number = ?", "DELETE FROM notices WHERE number = ?"}
		if n <= j.swept {
			qs = append(qs, "DELETE FROM uuids WHERE number = ?")
		}
		for _, q := range qs {
			if _, err := tx.ExecContext(ctx, q, n); err != nil {
				return err
			}
		}
	}
	// A submit that is said again long after is still known: its job must not run again.
	swept := max(min(j.Last()-keepUUIDs, j.swept+sweepUUIDs), j.swept)
	if swept > j.swept {
		_, err = tx.ExecContext(ctx, "DELETE FROM uuids AS u WHERE number > ? AND number <= ? AND NOT "+there, j.swept, swept)
		if err != nil {
			return err
		}
	}
	for key, n := range map[string]int64{factSeq: j.seq, factNumber: j.Last(), factSwept: swept} {
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO facts VALUES (?, ?)", key, strconv.FormatInt(n, 10))
		if err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	j.swept = swept
	return nil
}

// explain wraps an error of the file.
func (j *Journal) explain(doing string, err error) error {
	// What is no file of SQLite says it in its own words.
	if sqlfile.Why(err) == sqlfile.Full || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%s %s: %w (%w)", doing, j.path, ErrFull, err)
	}
	return fmt.Errorf("%s %s: %w", doing, j.path, err)
}

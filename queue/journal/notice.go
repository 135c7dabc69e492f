package journal

import (
	"context"
	"database/sql"
	"time"

	"berth/queue"
)

// owe notes when somebody is to be told of a job that is done.
func owe(ctx context.Context, tx *sql.Tx, number int64, due time.Time) error {
	_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO notices VALUES (?, ?)", number, millis(due))
	return err
}

// Due are the jobs of which somebody is to be told by now, from the longest due; at most limit. next is when the next
// one after these is due; zero: none is.
func (j *Journal) Due(ctx context.Context, now time.Time, limit int) (due []int64, next time.Time, err error) {
	rows, err := j.file.Read.QueryContext(ctx, "SELECT number, due FROM notices ORDER BY due LIMIT ?", limit+1)
	if err != nil {
		return nil, next, j.explain("looking for who is to be told in", err)
	}
	defer rows.Close()
	for rows.Next() {
		var number, at int64
		if err := rows.Scan(&number, &at); err != nil {
			return nil, next, j.explain("looking for who is to be told in", err)
		}
		if at > millis(now) || len(due) == limit {
			next = time.UnixMilli(at).UTC()
			break
		}
		due = append(due, number)
	}
	if err := rows.Err(); err != nil {
		return nil, next, j.explain("looking for who is to be told in", err)
	}
	return due, next, nil
}

// Settle writes what has become of telling others of a job, which the journal has: its status from now on, with who is
// still to be told. change says that the status differs from what the journal has.
func (j *Journal) Settle(ctx context.Context, id queue.ID, s *queue.Status, change bool) error {
	changes := []queue.Change{{ID: id, Status: *s}}
	if change {
		if err := j.Commit(ctx, changes); err != nil || len(s.Owed) > 0 {
			return err
		}
	}
	if _, err := j.file.Write.ExecContext(ctx, "DELETE FROM notices WHERE number = ?", id.Number); err != nil {
		return j.explain("writing to the journal of jobs", err)
	}
	return nil
}

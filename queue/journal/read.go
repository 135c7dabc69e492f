package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"berth/queue"
	"berth/queue/sqlfile"
)

// Live reads all that is not done: jobs, arrays and elements, by their numbers. Elements get their array's Spec.
func (j *Journal) Live(ctx context.Context) iter.Seq2[queue.Job, error] {
	return j.each(ctx, "live jobs", selectJobs+" WHERE j.done = 0 ORDER BY j.number, j.idx")
}

// Job reads one; found is false where there is none, or none any more.
func (j *Journal) Job(ctx context.Context, id queue.ID) (job queue.Job, found bool, err error) {
	jobs, err := j.jobs(ctx, "job "+id.String(), selectJob, id.Number, indexOf(id))
	if err != nil || len(jobs) == 0 {
		return queue.Job{}, false, err
	}
	return jobs[0], true, nil
}

// ByUUID finds the job of a submit; found is false where there is none, or none any more.
func (j *Journal) ByUUID(ctx context.Context, uuid string) (id queue.ID, found bool, err error) {
	id, found, _, err = j.Submitted(ctx, uuid)
	return id, found, err
}

// Submitted is ByUUID, and says whether a job that is forgotten was submitted with the UUID: id is what it was then.
func (j *Journal) Submitted(ctx context.Context, uuid string) (id queue.ID, found, forgotten bool, err error) {
	st, err := j.reads.prepare(ctx, j.file.Read, selectUUID)
	if err == nil {
		err = st.QueryRowContext(context.WithoutCancel(ctx), uuid).Scan(&id.Number, &found)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return queue.ID{}, false, false, nil
	}
	if err != nil {
		return queue.ID{}, false, false, j.explain("reading the journal of jobs", err)
	}
	return id, found, !found, nil
}

// there says of a UUID that its job is not forgotten.
const there = "EXISTS (SELECT 1 FROM jobs j WHERE j.number = u.number AND j.idx = -1)"

// BeginsUUID finds the jobs of submits whose UUID begins so: two at the most.
func (j *Journal) BeginsUUID(ctx context.Context, begin string) (ids []queue.ID, err error) {
	rows, err := j.file.Read.QueryContext(ctx, "SELECT number FROM uuids u WHERE uuid >= ? AND uuid < ? AND "+there+
		" LIMIT 2", begin, begin+"g") // behind each digit
	if err != nil {
		return nil, j.explain("reading the journal of jobs", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id queue.ID
		if err := rows.Scan(&id.Number); err != nil {
			return nil, j.explain("reading the journal of jobs", err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return nil, j.explain("reading the journal of jobs", err)
	}
	return ids, nil
}

// Query is which jobs a page has, from the newest down. An empty field asks for nothing.
type Query struct {
	States []queue.State
	Since  time.Time // submitted, or ended, not before
	Text   string    // in the name, the command, the group or the user, in any case
	// Elements is an array whose elements are asked for, by their index from the lowest up; 0: jobs and arrays are.
	Elements int64
	Services bool // services are asked for, and else jobs
	// After is the last one of the page before: the page goes on behind it.
	After queue.ID
	Limit int // at most; 0: 100
}

// Page reads one page. more is whether others may follow.
func (j *Journal) Page(ctx context.Context, q Query) (jobs []queue.Job, more bool, err error) {
	where, args := []string{}, []any{}
	and := func(cond string, values ...any) { where, args = append(where, cond), append(args, values...) }
	order := "j.number DESC"
	switch {
	case q.Elements != 0:
		order = "j.idx"
		and("j.number = ? AND j.idx >= 0", q.Elements)
		if q.After.Element {
			and("j.idx > ?", q.After.Index)
		}
	case q.After.Number != 0:
		and("j.idx < 0 AND j.number < ?", q.After.Number)
	default:
		and("j.idx < 0")
	}
	if q.Services {
		and("j.service = 1")
	} else if q.Elements == 0 {
		and("j.service = 0")
	}
	if len(q.States) > 0 {
		marks := make([]any, len(q.States))
		for i, s := range q.States {
			marks[i] = string(s)
		}
		and("j.state IN (?"+strings.Repeat(", ?", len(marks)-1)+")", marks...)
	}
	if !q.Since.IsZero() {
		and("(j.submitted >= ? OR j.ended >= ?)", millis(q.Since), millis(q.Since))
	}
	if q.Text != "" {
		and(`j.words LIKE ? ESCAPE '\'`, "%"+likeEscape.Replace(strings.ToLower(strings.ToValidUTF8(q.Text, "?")))+"%")
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 100
	}
	jobs, err = j.jobs(ctx, "a page of jobs", selectJobs+" WHERE "+strings.Join(where, " AND ")+" ORDER BY "+order+
		" LIMIT ?", append(args, limit+1)...)
	if len(jobs) > limit {
		return jobs[:limit], true, err
	}
	return jobs, false, err
}

var likeEscape = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// Ran reads the jobs and elements that are not done, or ended not before a time.
func (j *Journal) Ran(ctx context.Context, since time.Time) iter.Seq2[queue.Job, error] {
	return j.each(ctx, "jobs", selectJobs+" WHERE j.done = 0 OR j.ended >= ? ORDER BY j.number, j.idx", millis(since))
}

// DoneOnGPUs reads the jobs and elements that had GPUs, and ended not before a time, as far as they were done at a
// change number.
func (j *Journal) DoneOnGPUs(ctx context.Context, since time.Time, upTo int64) iter.Seq2[queue.Job, error] {
	return j.each(ctx, "jobs on GPUs", selectJobs+" WHERE j.done = 1 AND j.ended >= ? AND j.seq <= ? AND "+
		`instr(CAST(j.status AS TEXT), '"gpus":[') > 0 ORDER BY j.number, j.idx`, millis(since), upTo)
}

// Changed reads what changed after a change number, by that number; at most limit. Of a job that changed twice it has
// the last.
func (j *Journal) Changed(ctx context.Context, seq int64, limit int) ([]queue.Job, error) {
	return j.jobs(ctx, "changes of jobs", selectChanged, seq, limit)
}

// selectJobs reads jobs; an element's spec is its array's.
const selectJobs = "SELECT j.number, j.idx, j.seq, coalesce(j.spec, a.spec), j.status FROM jobs j " +
	"LEFT JOIN jobs a ON j.idx >= 0 AND a.number = j.number AND a.idx = -1"

// What is asked often: it is prepared once.
const (
	selectJob     = selectJobs + " WHERE j.number = ? AND j.idx = ?"
	selectChanged = selectJobs + " WHERE j.seq > ? ORDER BY j.seq LIMIT ?"
	selectTook    = selectJobs + " WHERE j.idx < 0 AND j.state = 'succeeded' AND " +
		"substr(j.words, 1, 200) = substr(?, 1, 200) ORDER BY j.number DESC LIMIT ?"
	selectUUID = "SELECT number, " + there + " FROM uuids u WHERE uuid = ?"
)

// prepared are statements for reading.
type prepared struct {
	mu  sync.Mutex
	all map[string]*sql.Stmt
}

// prepare prepares a query that is one of few.
func (p *prepared) prepare(ctx context.Context, db *sql.DB, query string) (*sql.Stmt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if st := p.all[query]; st != nil {
		return st, nil
	}
	st, err := db.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if p.all == nil {
		p.all = map[string]*sql.Stmt{}
	}
	p.all[query] = st
	return st, nil
}

func (p *prepared) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, st := range p.all {
		errs = append(errs, st.Close())
	}
	p.all = nil
	return errors.Join(errs...)
}

func (j *Journal) jobs(ctx context.Context, what, query string, args ...any) (out []queue.Job, err error) {
	for job, err := range j.each(ctx, what, query, args...) {
		if err != nil {
			return nil, err
		}
		out = append(out, job)
	}
	return out, nil
}

// each reads jobs one by one. An error is the last of what it gives.
func (j *Journal) each(ctx context.Context, what, query string, args ...any) iter.Seq2[queue.Job, error] {
	return func(yield func(queue.Job, error) bool) {
		if err := j.query(ctx, query, args, func(job queue.Job) bool { return yield(job, nil) }); err != nil {
			yield(queue.Job{}, j.explain("reading "+what+" from", err))
		}
	}
}

// rows asks a query.
func (j *Journal) rows(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	switch query {
	case selectJob, selectChanged, selectTook:
		st, err := j.reads.prepare(ctx, j.file.Read, query)
		if err != nil {
			return nil, err
		}
		return st.QueryContext(context.WithoutCancel(ctx), args...) // to watch for its end would cost more than it does
	}
	return j.file.Read.QueryContext(ctx, query, args...)
}

// query calls each until it returns false.
func (j *Journal) query(ctx context.Context, query string, args []any, each func(queue.Job) bool) error {
	rows, err := j.rows(ctx, query, args)
	if err != nil {
		return err
	}
	defer rows.Close()
	var array queue.Job // the last one that was read, of which elements may follow
	for rows.Next() {
		var job queue.Job
		var index int
		var spec, status sql.RawBytes
		if err := rows.Scan(&job.ID.Number, &index, &job.Seq, &spec, &status); err != nil {
			return err
		}
		if index >= 0 {
			job.ID = job.ID.At(index)
		}
		seq := job.Seq
		if err := decodeStatus(status, &job.Status); err != nil {
			return fmt.Errorf("%w: job %s: %w in %.80q", sqlfile.ErrCorrupt, job.ID, err, status)
		}
		job.Seq = seq
		if array.ID == job.ID.Array() {
			job.Spec = array.Spec
		} else {
			s, err := decodeSpec(spec)
			if err != nil {
				return fmt.Errorf("%w: job %s: %w in %.80q", sqlfile.ErrCorrupt, job.ID, err, spec)
			}
			job.Spec = *s
			array = queue.Job{ID: job.ID.Array(), Spec: *s}
		}
		if !each(job) {
			return nil
		}
	}
	return rows.Err()
}

package journal

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strconv"

	"github.com/google/renameio/v2"
)

// numbers knows which numbers were given. Before a job with one is committed, a number that is not lower stands in a
// file beside the journal: the ceiling. A journal that was made anew, or taken back, goes on above it. It is raised by
// blocks, so that most numbers cost nothing, and the journal knows of each raise: where both agree, it goes on after
// its last job.
type numbers struct {
	path    string
	last    int64
	ceiling int64
}

// block is by how much the ceiling is raised.
const block = 1000

func (j *Journal) openNumbers(ctx context.Context, path string) (*numbers, error) {
	var last sql.NullInt64
	if err := j.file.Write.QueryRowContext(ctx, "SELECT max(number) FROM jobs").Scan(&last); err != nil {
		return nil, err
	}
	forgotten, err := j.number(ctx, factNumber)
	if err != nil {
		return nil, err
	}
	known, err := j.number(ctx, factCeiling)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	n := &numbers{path: path, last: max(last.Int64, forgotten)}
	var ok bool
	switch n.ceiling, ok = parseCeiling(b); {
	case !ok:
		// Where the file was lost or damaged, what the journal knows of it is the most that can have been given.
		n.ceiling, n.last = 0, max(n.last, known)
	case n.ceiling != known:
		n.last = max(n.last, n.ceiling)
	}
	return n, nil
}

// Raise makes all numbers to come higher than n: one that somebody else has seen given, before this disk was taken
// back to an earlier state, say.
func (j *Journal) Raise(ctx context.Context, n int64) error {
	if n <= j.numbers.last {
		return nil
	}
	if err := j.raise(ctx, n); err != nil {
		return err
	}
	if err := j.setFact(ctx, factNumber, strconv.FormatInt(n, 10)); err != nil {
		return j.explain("noting which numbers were given", err)
	}
	j.numbers.last = n
	return nil
}

// Last is the highest number that was given; 0 before the first. New jobs have higher ones.
func (j *Journal) Last() int64 { return j.numbers.last }

// raise makes sure that the ceiling is not below n.
func (j *Journal) raise(ctx context.Context, n int64) error {
	if n <= j.numbers.ceiling {
		return nil
	}
	ceiling := n + block - 1
	err := renameio.WriteFile(j.numbers.path, formatCeiling(ceiling), 0o600)
	if err == nil {
		err = j.setFact(ctx, factCeiling, strconv.FormatInt(ceiling, 10))
	}
	if err != nil {
		return j.explain("noting which numbers were given", err)
	}
	j.numbers.ceiling = ceiling
	return nil
}

const ceilingWord = "berth-job-numbers 1 "

func formatCeiling(n int64) []byte {
	line := strconv.AppendInt([]byte(ceilingWord), n, 10)
	return fmt.Appendf(line, " %08x\n", crc32.ChecksumIEEE(line))
}

// parseCeiling reads what formatCeiling wrote; ok is false for anything else.
func parseCeiling(b []byte) (n int64, ok bool) {
	rest, ok := bytes.CutPrefix(b, []byte(ceilingWord))
	if !ok {
		return 0, false
	}
	digits, _, _ := bytes.Cut(rest, []byte(" "))
	n, err := strconv.ParseInt(string(digits), 10, 64)
	return n, err == nil && n > 0 && bytes.Equal(b, formatCeiling(n))
}

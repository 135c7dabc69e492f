// Package journal keeps the jobs of one queue: what was committed is on the disk, and no number is given twice.
//
// Journal is one SQLite file with one writer (package sqlfile), and beside it a file with a number that no job has had
// (numbers.go): a journal that is made anew goes on above it. Commit writes what a decision changed in one transaction
// (write.go). Reading never waits for it (read.go): pages from the newest down, what changed since a change number, and
// what is not done.
//
// A file that can't be read is kept aside, as PATH.broken-N, and a new one is begun; Journal.Told says so. A file of a
// newer version is refused and not touched.
package journal

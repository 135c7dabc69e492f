// Package sqlfile opens a file of SQLite that one process writes and that must lose nothing: what was committed is on
// the disk (WAL with synchronous=FULL).
//
// Its schema has a version. Migrations are numbered SQL files, forward only; all that are needed are one transaction,
// before which the file is copied to PATH.version-N. A file of a newer version is refused and not touched (NewerError);
// a corrupted one is kept and said (ErrCorrupt, and the codes of SQLite: see Why).
package sqlfile

// Package store keeps what a workspace must not forget: instances, operations, events, settings.
//
// Store is the interface; SQLite (Open) implements it for a personal workspace, a server database can later. All
// writing goes through Apply, which takes Changes and writes them atomically and durably (WAL with synchronous=FULL),
// so what was acknowledged is on the disk. The daemon is the only writer.
//
// Documents are JSON in one column beside the columns that are searched:
//
//	instances   id, name_key (lower case), backend, revision, doc
//	documents   instance_id, kind, revision, doc: what features keep of an instance
//	operations  id, instance_id, done, created, revision, doc
//	events      seq (never reused), time, instance_id, doc
//	settings    key, value
//
// Each of the first three has a revision, which grows by one with each write. A write carries the one that its writer
// saw, and is refused as a conflict where the store has another: nothing is overwritten that was not seen.
//
// Writer is the one who calls Apply: what is queued while a transaction is written goes into the next one together. Who
// reads what clients ask for has connections of their own, and waits for no writer.
//
// Migrations are numbered SQL files under migrations/, forward only. All that are needed are one transaction, before
// which the store is copied to PATH.version-N. A store of a newer version is refused and not touched; a corrupted one
// is kept and said.
//
// Package storetest has what every store must do as tests.
package store

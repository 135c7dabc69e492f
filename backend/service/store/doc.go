// Package store keeps what a workspace must not forget: instances, operations, events, settings.
//
// Store is the interface; SQLite (Open) implements it for a personal workspace, a server database can
// later. All writing goes through Apply, which takes a Change and writes it atomically and durably
// (WAL with synchronous=FULL), so what was acknowledged is on the disk. The daemon is the only writer.
//
// Documents are JSON in one column beside the columns that are searched:
//
//	instances   id, name_key (lower case), backend, doc
//	operations  id, instance_id, done, created, doc
//	events      seq (never reused), time, instance_id, doc
//	settings    key, value
//
// Migrations are numbered SQL files under migrations/, forward only. A store of a newer version is
// refused and not touched; a corrupted one is kept and said.
package store

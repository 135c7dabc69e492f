// Package history keeps what was measured of a host: each second for 15 minutes while somebody watches, each 10 s
// for 6 hours, each minute for 30 days, with mean and maximum, in one file whose size never changes.
//
// # The file
//
// A header with its version and capacities; two copies of the table that says which subject (GPU, mount, …) has
// which slot from which row on; then three rings of rows. A row is a checksum, a sequence number, a time, and a
// fixed place for each slot: layout.go has the columns and how exact they are. All space is allocated when the file
// is made, so that a disk that fills later stops nothing, and 8 GPUs, 10 disks, 10 block devices and 4 interfaces
// need less than 32 MB. A host with less makes a smaller file; one that gets more has it made anew, with its rows.
//
// A row is one write. One that `kill -9` or a power cut tore has a wrong checksum and is a gap; the minute that was
// under way is lost. Rows are in the order of their sequence numbers, not of the clock, so a clock that is set
// leaves, at worst, rows in the future, which questions about the past don't meet.
//
// # Precision
//
// Percents to 0.002, temperatures to 0.01 °C, power and clocks to 0.1, sizes to 24 bits (60 KB of 1 TB), rates to
// 0.05 %. One process at a time has the file (a lock); where it can't be had or made, the history is in memory,
// shorter, Problem says why, and it is tried again each minute.
//
// Read layout.go, file.go (opening, growing), history.go (Append), query.go.
package history

// Package procs knows the processes of the host: what they use, whose they are, and how to signal one safely.
//
// table.go keeps the table and chooses what is shown: every process on a GPU, and those that use most. Package
// proc below this one reads /proc (with gopsutil for use elsewhere); what changes seldom (user, arguments,
// control group) is read in goroutines of its own and only for what is shown, because the arguments of a process
// that hangs in a driver can't be read at all. owner.go finds whose a process is; signal.go signals.
//
// Reading one line costs about 4 µs, so a host with thousands of processes would cost more than sampling may:
// all are then looked at less often (budget in table.go), and those shown each time.
//
// Sums: a process that uses several GPUs stands once for each in a list. GPU memory and SM shares may be added
// over lines; CPU, host memory and counts only over PIDs: Totals does it.
package procs

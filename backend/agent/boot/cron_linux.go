package boot

import "berth/gpu/procs/proc"

// cronProcess looks for a cron daemon among the processes.
func cronProcess() bool { return proc.Named("cron", "crond", "fcron", "cronie") }

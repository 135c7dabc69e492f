//go:build !linux

package boot

// cronProcess is true where launchd starts cron as soon as a crontab exists.
func cronProcess() bool { return true }

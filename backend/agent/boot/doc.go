// Package boot sees to it that an agent outlives its user's logout and comes back after a reboot: by a systemd user
// unit where the user's services are started at boot (lingering), else by an @reboot line in the user's crontab, else
// by a unit that waits for the next login, else not at all. What was done, and what was not, stands in boot.json and is
// said in AgentInfo. Local instances do not come back: a reboot stops them.
//
// boot.go decides, systemd.go and cron.go know the two ways.
package boot

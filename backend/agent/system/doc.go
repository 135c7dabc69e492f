// Package system is the part of the agent that changes what belongs to the machine and not to its user, as root where
// that asks no question: the clock and sshd's host keys.
package system

// Package uitest has what tests and pictures of the dashboard need: a workspace in memory whose
// instances go through real steps, fleets to fill it with, and a driver that presses keys.
package uitest

// Package termquery stands between the terminal's input and the dashboard and takes out what the terminal
// answers to questions of ours: the background colour (OSC 11). bubbletea v1 would take such an
// answer for typed keys when it comes late, as it does over a slow line.
package termquery

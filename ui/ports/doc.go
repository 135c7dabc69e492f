// Package ports is the screen of what listens on one instance: TCP ports and unix sockets with their processes, which
// can be forwarded to this computer and opened in its browser.
//
//	ports.go   the screen, and what it asks
//	rows.go    the rows, in order
//	act.go     what the keys do
//	draw.go    the picture
//
// It asks every other second while it is open and looked at. The forwards belong to the dashboard (screen.Forwards):
// they live on when the screen is left.
package ports

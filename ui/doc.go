// Package ui is Berth's dashboard. Run opens it on a terminal.
//
// The root model (root.go) routes: it keeps a stack of screens, hands them keys, mouse and changes of
// the fleet, and draws the bar on top, the status line and the footer around them. A screen is a
// package with a screen.Maker and one line in registry.go; what it may use is in screen.Env.
//
// The way of the data: data.Feed follows the workspace's watch stream and sends at most one delta in
// 100 ms; the root applies it to data.Store and tells the screens. The root draws a frame after each
// message and keeps it; nothing ticks unless a time that is shown is about to change.
// What is measured on the instances comes by a data.FigureFeed, at a pace of its own; an instance's own
// screen follows its agent directly.
//
// Everything that comes from outside is cleaned where it is drawn (packages plaintext and draw). Before
// bubbletea is imported, package noquery must have been initialised: see there.
package ui

// Package screen is the contract between the dashboard's root and its screens.
//
// A screen is a package with a Maker that is registered in the root. The root keeps a stack of
// screens and routes messages; it draws the bar on top and the footer, the screen draws what is
// between. A screen says what its keys do by a table of bindings, which also makes its footer and
// its help. All screens share one Env: theme, fleet, clock, workspace, configuration.
package screen

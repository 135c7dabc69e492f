// Package noquery keeps the terminal from being asked anything while the program starts.
//
// Importing bubbletea v1 runs lipgloss.HasDarkBackground in an init function, which asks the
// terminal for its colour and waits up to five seconds for the answer: for every verb, not only for
// the dashboard. This package answers beforehand. It must be initialised before bubbletea; Go orders
// packages that are ready by import path, and "berth/…" sorts before "github.com/charmbracelet/…",
// so that importing it from main is enough. The dashboard asks for the colour itself, without
// waiting (see package termquery).
package noquery

// Package help is the help screen: the keys of the screen that it was opened from, written from their
// bindings with the reason for each that can't be used now, then the page about the screen, then the
// other pages by number. Pages are embedded from assets/help.
package help

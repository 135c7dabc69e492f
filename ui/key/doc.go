// Package key holds what a key does on a screen: one table a screen, from which keys are dispatched,
// the footer is drawn and help is written.
package key

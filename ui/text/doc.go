// Package text measures, cuts and wraps clean text in cells of a terminal. Text from outside is made clean by
// base/plaintext; package draw passes every text through it, so that a screen can't forget to.
package text

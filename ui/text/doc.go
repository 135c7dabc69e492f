// Package text makes text from outside (providers, remote machines, names, logs, errors) harmless
// and measurable: no control characters or escape sequences, nothing that reorders the line, nothing
// whose width terminals disagree about. Package draw passes every text through it, so that a screen
// can't forget to.
package text

// Package ttymodes follows the output of a program and knows which modes of a terminal it has switched on: what must be
// switched off when the program is left in the middle, and switched on where another terminal is to show it.
package ttymodes

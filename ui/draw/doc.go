// Package draw writes screens: a Line is filled with texts in styles, cut at its width, and a Page is
// a number of lines. Every text is cleaned (package plaintext) on its way in, so nothing from outside
// reaches the terminal as anything but characters. It is made for speed: a line costs microseconds
// and a page one string.
package draw

// Package theme holds how the dashboard looks on one terminal: colours as ready escape sequences,
// glyphs and borders. A Theme is made once for a terminal (and again when its background becomes
// known), never kept in a package variable, since several terminals may be served by one process.
//
// lipgloss decides what a colour becomes in 16, 256 or 16 million colours; each style is rendered
// once and split into what comes before and after the text, because rendering every cell by lipgloss
// costs a hundred times more than joining strings.
package theme

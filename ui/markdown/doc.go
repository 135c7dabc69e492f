// Package markdown lays out the little Markdown that help pages use, for the help screen and for berth help:
// headings, paragraphs, lists with hanging indents, lines of code, and `code` and **bold** within text.
package markdown

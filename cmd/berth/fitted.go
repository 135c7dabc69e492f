package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"berth/backend/base/plaintext"
	"berth/ui/text"
)

// longWord is the longest word that a column is kept wide enough for when others need the room.
const longWord = 24

// shortWord is what every column keeps.
const shortWord = 8

// listing prints rows with lists and sentences in them: a row a line, whole, for other programs; on a terminal within
// its width.
func (a *app) listing(rows [][]string) error {
	if !terminal(a.out) {
		return table(a.out, rows)
	}
	for _, r := range rows {
		for i := range r {
			r[i] = strings.ReplaceAll(strings.ReplaceAll(r[i], ", ", ","), ",", ", ") // lists can be broken there
		}
	}
	return fitted(a.out, rows, columns(a.out))
}

// fitted prints rows in aligned columns within width: what is too long for its column goes on below. The first row is
// the header.
func fitted(w io.Writer, rows [][]string, width int) error {
	const gap = 2
	var widths, least []int
	for _, r := range rows {
		for i := range r {
			r[i] = plaintext.Clean(r[i])
			if i == len(widths) {
				widths, least = append(widths, 0), append(least, 1)
			}
			widths[i] = max(widths[i], text.Width(r[i]))
			for word := range strings.FieldsSeq(r[i]) {
				least[i] = max(least[i], min(text.Width(word), longWord))
			}
		}
	}
	total := gap * (len(widths) - 1)
	for _, n := range widths {
		total += n
	}
	for total > width { // the widest gives way, never the first: names are whole
		widest := 0
		for i := range widths {
			if i > 0 && widths[i] > least[i] && (widest == 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest > 0 {
			widths[widest]--
			total--
			continue
		}
		if slices.Max(least) <= shortWord {
			break // the terminal is too narrow: it breaks the lines
		}
		for i := range least {
			least[i] = min(least[i], shortWord) // then words are broken
		}
	}
	var b strings.Builder
	for _, r := range rows {
		cells := make([][]string, len(r))
		lines := 0
		for i := range r {
			cells[i] = text.Wrap(r[i], widths[i])
			lines = max(lines, len(cells[i]))
		}
		for n := range lines {
			line := ""
			for i := range r {
				part := ""
				if n < len(cells[i]) {
					part = cells[i][n]
				}
				line += part + strings.Repeat(" ", widths[i]-text.Width(part)+gap)
			}
			fmt.Fprintln(&b, strings.TrimRight(line, " "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

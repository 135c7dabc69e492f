package text

import (
	"strings"
	"unicode/utf8"

	"berth/backend/base/plaintext"
)

// Fold breaks a clean line into pieces of at most w cells, of which nothing is lost: put together they are the line
// again. A piece ends behind a space where one stands in its second half.
func Fold(s string, w int) []string {
	if w <= 0 {
		return nil
	}
	var out []string
	for Width(s) > w {
		head := s[:min(w, len(s))]
		if !plaintext.Plain(s) {
			head = Truncate(s, w, "")
		}
		if head == "" { // a wide character and one column
			_, n := utf8.DecodeRuneInString(s)
			head = s[:n]
		}
		if i := strings.LastIndexByte(head, ' '); i >= len(head)/2 {
			head = head[:i+1]
		}
		out, s = append(out, head), s[len(head):]
	}
	return append(out, s)
}

package action

import "fmt"

// NameFault says what is wrong with an instance's name by the rules, or "".
func NameFault(s string) string {
	for _, r := range s {
		if r > 0x7f || r != '-' && !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			return fmt.Sprintf("%q can't be in a name: letters, digits and - can", r)
		}
	}
	switch c := s[0]; {
	case c == '-' || c >= '0' && c <= '9':
		return "a name begins with a letter"
	case len(s) < 3:
		return "3 characters at least"
	case len(s) > 24:
		return fmt.Sprintf("24 characters at most; these are %d", len(s))
	}
	return ""
}

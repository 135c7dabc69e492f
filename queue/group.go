package queue

import (
	"errors"
	"unicode/utf8"
)

// MaxGroup is how long the name of a group with a limit may be, in bytes.
const MaxGroup = 200

// CheckGroup says what is wrong with the name of a group that is to have a limit.
func CheckGroup(name string) error {
	switch {
	case name == "":
		return errors.New("a group has a name")
	case len(name) > MaxGroup || !utf8.ValidString(name):
		return errors.New("the name of a group is text of at most 200 bytes")
	}
	return nil
}

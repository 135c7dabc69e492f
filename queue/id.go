package queue

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ID names a job on its instance: a number that is never given twice, and the index of an array's element.
type ID struct {
	Number  int64 // 1 or more
	Index   int   // of an element; 0 otherwise
	Element bool  // whether it is one
}

// At names an element of the array.
func (id ID) At(index int) ID { return ID{Number: id.Number, Index: index, Element: true} }

// Array names the array of an element, and any other job itself.
func (id ID) Array() ID { return ID{Number: id.Number} }

// String is "12", or "12_3" of an element.
func (id ID) String() string {
	if !id.Element {
		return strconv.FormatInt(id.Number, 10)
	}
	return strconv.FormatInt(id.Number, 10) + "_" + strconv.Itoa(id.Index)
}

// MarshalText is String, so that an ID is a string in JSON.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(b []byte) error {
	got, err := ParseID(string(b))
	if err == nil {
		*id = got
	}
	return err
}

// ParseID reads "12" or "12_3".
func ParseID(s string) (ID, error) {
	number, index, element := strings.Cut(s, "_")
	n, err := digits(number, math.MaxInt64)
	if err != nil || n == 0 {
		return ID{}, fmt.Errorf("%q is no job: say its number, as 12, or 12_3 for an element of an array", s)
	}
	id := ID{Number: n, Element: element}
	if element {
		i, err := digits(index, MaxIndex)
		if err != nil {
			return ID{}, fmt.Errorf("%q is no element of an array: say it as %d_3, from 0 to %d", s, n, MaxIndex)
		}
		id.Index = int(i)
	}
	return id, nil
}

// ParseRef reads what names a job over the fleet, "NAME/12_3". The instance is "" where none is said.
func ParseRef(s string) (instance string, id ID, err error) {
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		if instance = s[:i]; instance == "" {
			return "", ID{}, fmt.Errorf("%q names no instance before the /", s)
		}
		s = s[i+1:]
	}
	id, err = ParseID(s)
	return instance, id, err
}

// IsUUID reports whether s is the UUID of a submit, whole.
func IsUUID(s string) bool { return len(s) == 36 && BeginsUUID(s) }

// BeginsUUID reports whether s is the UUID of a submit, or begins one: with 8 characters or more, so that it is no
// number and is not met by chance.
func BeginsUUID(s string) bool {
	if len(s) < 8 || len(s) > 36 {
		return false
	}
	number := true
	for i, c := range []byte(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		switch {
		case dash != (c == '-'), !dash && !strings.ContainsRune("0123456789abcdef", rune(c)):
			return false
		}
		number = number && c >= '0' && c <= '9'
	}
	return !number
}

// digits reads a number up to most, without a sign or leading zeros: each number is written in one way.
func digits(s string, most int64) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > most || strconv.FormatInt(n, 10) != s || n < 0 {
		return 0, fmt.Errorf("%q is no number from 0 to %d", s, most)
	}
	return n, nil
}

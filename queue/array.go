package queue

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// MaxIndex is the highest index of an element, and MaxElements how many an array may have.
const (
	MaxIndex    = 1<<31 - 1
	MaxElements = 1_000_000
)

// Array is which elements a job has, and how many of them run at once.
type Array struct {
	Ranges []Range `json:"ranges,omitzero"` // ascending, none overlaps
	Limit  int     `json:"limit,omitzero"`  // 0: no limit
}

// Range is First, First+Step and so on, up to Last.
type Range struct {
	First int `json:"first,omitzero"`
	Last  int `json:"last,omitzero"`
	Step  int `json:"step,omitzero"`
}

// Len is how many numbers are in the range.
func (r Range) Len() int { return (r.Last-r.First)/r.Step + 1 }

// Len is how many elements there are.
func (a Array) Len() (n int) {
	for _, r := range a.Ranges {
		n += r.Len()
	}
	return n
}

// Index is the index of the element at a place, counted from 0.
func (a Array) Index(place int) int {
	for _, r := range a.Ranges {
		if n := r.Len(); place >= n {
			place -= n
			continue
		}
		return r.First + place*r.Step
	}
	panic(fmt.Sprintf("queue: an array of %d elements has none at place %d", a.Len(), place))
}

// Place is where the element with an index stands, counted from 0.
func (a Array) Place(index int) (place int, found bool) {
	for _, r := range a.Ranges {
		if index >= r.First && index <= r.Last && (index-r.First)%r.Step == 0 {
			return place + (index-r.First)/r.Step, true
		}
		place += r.Len()
	}
	return 0, false
}

// String is what ParseArray reads.
func (a Array) String() string {
	var b strings.Builder
	for i, r := range a.Ranges {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(r.First))
		if r.Last > r.First {
			b.WriteString("-" + strconv.Itoa(r.Last))
		}
		if r.Step > 1 {
			b.WriteString(":" + strconv.Itoa(r.Step))
		}
	}
	if a.Limit > 0 {
		b.WriteString("%" + strconv.Itoa(a.Limit))
	}
	return b.String()
}

// ParseArray reads "7", "0-9", "1-10:3", comma lists of these, each with "%4" at its end for how many run at once.
func ParseArray(s string) (Array, error) {
	a, err := parseArray(s)
	if err != nil {
		return Array{}, fmt.Errorf("the array %q can't be read: %w (say it as 0-9, 1-10:3, 7, 1,4,8 or 0-9%%4)", s, err)
	}
	return a, nil
}

func parseArray(s string) (a Array, err error) {
	list, limit, limited := strings.Cut(s, "%")
	if limited {
		n, err := digits(limit, MaxElements)
		if err != nil || n == 0 {
			return a, fmt.Errorf("%q is no limit from 1 to %d", limit, MaxElements)
		}
		a.Limit = int(n)
	}
	for part := range strings.SplitSeq(list, ",") {
		r, err := parseRange(part)
		if err != nil {
			return a, err
		}
		a.Ranges = append(a.Ranges, r)
	}
	slices.SortFunc(a.Ranges, func(x, y Range) int { return cmp.Compare(x.First, y.First) })
	return a, a.check()
}

func parseRange(s string) (r Range, err error) {
	span, step, stepped := strings.Cut(s, ":")
	first, last, ranged := strings.Cut(span, "-")
	if stepped && !ranged {
		return r, fmt.Errorf("%q has a step, but no range", s)
	}
	if !ranged {
		last = first
	}
	if !stepped {
		step = "1"
	}
	for _, f := range []struct {
		text string
		to   *int
	}{{first, &r.First}, {last, &r.Last}, {step, &r.Step}} {
		n, err := digits(f.text, MaxIndex)
		if err != nil {
			return r, err
		}
		*f.to = int(n)
	}
	if r.Step > 0 && r.First <= r.Last {
		r.Last -= (r.Last - r.First) % r.Step // an element's own index
		if r.First == r.Last {
			r.Step = 1
		}
	}
	return r, nil
}

// check refuses what no array may be: also what a client made up without ParseArray.
func (a Array) check() error {
	if len(a.Ranges) == 0 {
		return errors.New("it has no element")
	}
	if a.Limit < 0 {
		return fmt.Errorf("the limit %d is below 0", a.Limit)
	}
	elements := 0
	for i, r := range a.Ranges {
		switch {
		case r.Step < 1:
			return errors.New("a step is 1 or more")
		case r.First < 0, r.Last > MaxIndex:
			return fmt.Errorf("an index is from 0 to %d", MaxIndex)
		case r.First > r.Last:
			return fmt.Errorf("%d-%d goes down", r.First, r.Last)
		case (r.Last-r.First)%r.Step != 0:
			return fmt.Errorf("%d is not in %d-%d:%d", r.Last, r.First, r.Last, r.Step)
		case i > 0 && r.First <= a.Ranges[i-1].Last:
			return fmt.Errorf("%d is in it twice, or its ranges overlap", r.First)
		}
		if elements += r.Len(); elements > MaxElements {
			return fmt.Errorf("it has more than %d elements", MaxElements)
		}
	}
	return nil
}

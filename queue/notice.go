package queue

import (
	"slices"
	"time"
)

// Owed is somebody who is to be told of a job's end.
type Owed struct {
	Name  string    `json:"name"`
	Next  time.Time `json:"next"`           // when to try, or to try again
	Tries int       `json:"tries,omitzero"` // that were begun
	Why   string    `json:"why,omitzero"`   // the last one failed
}

// ByRule stands among those who are owed for whom the instance's rules name: who that is, is looked up after the end.
// Nobody can have such a name.
const ByRule = "*"

// Who is the name in words.
func (o *Owed) Who() string {
	if o.Name == ByRule {
		return "who is to be told by rule"
	}
	return o.Name
}

// Rule puts those whom the rules name in the place of ByRule, but for those whom the job itself named. wrong says what
// of the rules could not be used.
func (s *Status) Rule(names, named, wrong []string, at time.Time) {
	i := slices.IndexFunc(s.Owed, func(o Owed) bool { return o.Name == ByRule })
	if i < 0 {
		return
	}
	owed := slices.Delete(slices.Clone(s.Owed), i, i+1)
	s.Ruled = nil
	for _, n := range names {
		if !slices.Contains(named, n) && n != ByRule {
			owed, s.Ruled = append(owed, Owed{Name: n, Next: at}), append(s.Ruled, n)
		}
	}
	if s.Owed = owed; len(owed) == 0 {
		s.Owed = nil
	}
	for _, w := range wrong {
		if !slices.Contains(s.Warnings, w) {
			s.Warnings = append(slices.Clone(s.Warnings), w)
		}
	}
}

// Owe has a status that is an end say who is to be told of it.
func (s *Status) Owe(names []string, at time.Time) {
	s.Owed = nil
	for _, n := range names {
		s.Owed = append(s.Owed, Owed{Name: n, Next: at})
	}
}

// Due is when somebody is to be told next; zero: nobody is.
func (s *Status) Due() (due time.Time) {
	for _, o := range s.Owed {
		if due.IsZero() || o.Next.Before(due) {
			due = o.Next
		}
	}
	return due
}

// Try notes that a try to tell each who is due begins, and returns their names. Where nothing is heard of it any more,
// since the agent was killed, the next one comes at again, which gets the number of the try.
func (s *Status) Try(now time.Time, again func(try int) time.Time) (names []string) {
	s.Owed = slices.Clone(s.Owed)
	for i := range s.Owed {
		if o := &s.Owed[i]; !o.Next.After(now) {
			o.Tries++
			o.Next = again(o.Tries)
			names = append(names, o.Name)
		}
	}
	return names
}

// Told notes how a try ended: failed is why it was in vain, "": it was not. After so many tries it is given up, and a
// warning says so; else the next one comes at again.
func (s *Status) Told(name, failed string, tries int, again func(try int) time.Time) {
	i := slices.IndexFunc(s.Owed, func(o Owed) bool { return o.Name == name })
	if i < 0 {
		return
	}
	s.Owed = slices.Clone(s.Owed)
	o := &s.Owed[i]
	if failed != "" && o.Tries < tries {
		o.Why, o.Next = failed, again(o.Tries)
		return
	}
	if failed != "" {
		s.Warnings = append(slices.Clone(s.Warnings), o.Who()+" was not told of its end: "+failed)
	}
	s.Owed = slices.Delete(s.Owed, i, i+1)
	if len(s.Owed) == 0 {
		s.Owed = nil
	}
}

package queue

// Code is which code a job's folder has.
type Code struct {
	Commit string `json:"commit"`
	Dirty  *bool  `json:"dirty,omitzero"` // whether files of it are changed; nil: it was not looked at
	Mark   string `json:"mark,omitzero"`  // of what is changed: another one is another change
}

// Same reports whether two are the same code, as far as is known.
func (c *Code) Same(o *Code) bool { return c.Commit == o.Commit && c.Mark == o.Mark }

// Saw notes which code a job's folder has, just before a run of it began (attempt) or when it was submitted (0). base
// is what was seen when an element's array was submitted. It reports whether that says anything new.
func (s *Status) Saw(c *Code, attempt int, base *Code) bool {
	if attempt > 0 && attempt != s.Attempt || attempt == 0 && s.Code != nil {
		return false
	}
	first := s.Code == nil
	if first {
		s.Code = c
		if base != nil && attempt > 0 {
			s.Code = base
		}
	}
	if s.Code.Same(c) {
		return first
	}
	s.Began = c
	return true
}

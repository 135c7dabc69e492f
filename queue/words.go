package queue

import "strings"

// Words are the parts of a job that are said in words of their own.
type Words struct {
	Array        string   // "0-9%4"
	Params       []string // "lr=0.1,0.01"
	ParamFile    string   // the file itself: CSV
	After        []string // "12,13_2", "any:12"
	AfterFailure []string // "12"
}

// Read has a job be what the words say. Its errors are for who said them.
func (s *Spec) Read(w Words) error {
	for _, list := range w.After {
		d, err := ParseAfter(list)
		if err != nil {
			return err
		}
		s.After = append(s.After, d...)
	}
	for _, list := range w.AfterFailure {
		d, err := ParseAfterFailure(list)
		if err != nil {
			return err
		}
		s.After = append(s.After, d...)
	}
	if w.Array != "" {
		a, err := ParseArray(w.Array)
		if err != nil {
			return err
		}
		s.Array = &a
	}
	var sweep Sweep
	for _, p := range w.Params {
		axis, err := ParseParam(p)
		if err != nil {
			return err
		}
		sweep.Axes = append(sweep.Axes, axis)
	}
	if w.ParamFile != "" {
		axis, err := ReadParams(strings.NewReader(w.ParamFile))
		if err != nil {
			return err
		}
		sweep.Axes = append(sweep.Axes, axis)
	}
	if len(sweep.Axes) == 0 {
		return nil
	}
	s.Sweep = &sweep
	if s.Array == nil {
		s.Array = &Array{Ranges: []Range{{First: 0, Last: sweep.Len() - 1, Step: 1}}}
	}
	return nil
}

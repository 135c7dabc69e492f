package queue

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Sweep gives an array's elements their parameters: element 0 has the first row of each axis, and the last axis
// changes fastest. Indexes of the array are those of the product.
type Sweep struct {
	Axes []Axis `json:"axes,omitzero"`
}

// Axis is a parameter with its values, or several that change together: the columns of a file.
type Axis struct {
	Names []string   `json:"names,omitzero"`
	Rows  [][]string `json:"rows,omitzero"` // each with a value for each name
}

// Value is a parameter as one element has it.
type Value struct{ Name, Value string }

// Len is how many elements the product has.
func (s Sweep) Len() int {
	n := 1
	for _, a := range s.Axes {
		if n *= len(a.Rows); n > MaxElements {
			return MaxElements + 1 // too many, and no overflow
		}
	}
	return n
}

// At are the parameters of the element with an index below Len.
func (s Sweep) At(index int) (out []Value) {
	for _, a := range slices.Backward(s.Axes) {
		row := a.Rows[index%len(a.Rows)]
		index /= len(a.Rows)
		for i, name := range slices.Backward(a.Names) {
			out = append(out, Value{name, row[i]})
		}
	}
	slices.Reverse(out)
	return out
}

// ParseParam reads "lr=0.1,0.01". A value with a comma stands in double quotes, as in CSV.
func ParseParam(s string) (Axis, error) {
	name, list, ok := strings.Cut(s, "=")
	if !ok {
		return Axis{}, fmt.Errorf("the parameter %q has no values: say it as lr=0.1,0.01", s)
	}
	r := csv.NewReader(strings.NewReader(list))
	values, err := r.Read()
	if err == nil {
		if _, more := r.Read(); !errors.Is(more, io.EOF) {
			err = errors.New("there is more after the end of a line")
		}
	}
	if errors.Is(err, io.EOF) { // nothing, or only line ends
		values, err = []string{list}, nil
	}
	if err != nil {
		return Axis{}, fmt.Errorf("the values of parameter %q can't be read: %w", name, err)
	}
	a := Axis{Names: []string{name}}
	for _, v := range values {
		a.Rows = append(a.Rows, []string{v})
	}
	return a, nil
}

// ReadParams reads a CSV file: a line with the names, then one with values for each element.
func ReadParams(in io.Reader) (Axis, error) {
	r := csv.NewReader(in)
	names, err := r.Read()
	if errors.Is(err, io.EOF) {
		return Axis{}, errors.New("the file of parameters is empty: its first line has their names, as lr,batch")
	}
	if err != nil {
		return Axis{}, fmt.Errorf("reading the parameters' names: %w", err)
	}
	names[0] = strings.TrimPrefix(names[0], "\ufeff") // as spreadsheets write it
	a := Axis{Names: names}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Axis{}, fmt.Errorf("reading the parameters: %w", err)
		}
		if a.Rows = append(a.Rows, row); len(a.Rows) > MaxElements {
			return Axis{}, fmt.Errorf("the file of parameters has more than %d rows", MaxElements)
		}
	}
	if len(a.Rows) == 0 {
		return Axis{}, errors.New("the file of parameters has names, but no row of values")
	}
	return a, nil
}

var paramName = pattern(`^[A-Za-z_][A-Za-z0-9_]*$`)

// check refuses what can't be filled in.
func (s Sweep) check() error {
	seen := map[string]bool{}
	for _, a := range s.Axes {
		if len(a.Names) == 0 || len(a.Rows) == 0 {
			return errors.New("a parameter has no name or no values")
		}
		for _, name := range a.Names {
			if !paramName().MatchString(name) {
				return fmt.Errorf("%q is no parameter's name: letters, digits and _ make one", name)
			}
			if upper := strings.ToUpper(name); seen[upper] {
				return fmt.Errorf("the parameter %s is there twice (upper and lower case are the same for %s)", name, env(name))
			}
			seen[strings.ToUpper(name)] = true
		}
		for i, row := range a.Rows {
			if len(row) != len(a.Names) {
				return fmt.Errorf("row %d has %d values for %d parameters", i+1, len(row), len(a.Names))
			}
			if slices.ContainsFunc(row, hasNUL) {
				return fmt.Errorf("row %d has a value with a NUL byte", i+1)
			}
		}
	}
	if s.Len() > MaxElements {
		return fmt.Errorf("the parameters make more than %d elements", MaxElements)
	}
	return nil
}

// env is the variable of a parameter.
func env(name string) string { return "BERTH_PARAM_" + strings.ToUpper(name) }

// Of is the spec of an element: {lr} in arguments is the value of the parameter lr, and BERTH_PARAM_LR has it too.
// A job without parameters keeps its spec.
func (s Spec) Of(id ID) Spec {
	if s.Sweep == nil || !id.Element {
		return s
	}
	var pairs []string
	s.Env = slices.Clone(s.Env)
	for _, v := range s.Sweep.At(id.Index) {
		pairs = append(pairs, "{"+v.Name+"}", v.Value)
		s.Env = append(s.Env, env(v.Name)+"="+v.Value)
	}
	fill := strings.NewReplacer(pairs...) // in one pass: a value that looks like a parameter stays as it is
	s.Argv = slices.Clone(s.Argv)
	for i := range s.Argv {
		s.Argv[i] = fill.Replace(s.Argv[i])
	}
	return s
}

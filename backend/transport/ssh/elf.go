package ssh

import (
	"debug/elf"
	"errors"
)

// isStatic reports whether a program of Linux asks for no interpreter: it runs on any distribution.
func isStatic(file string) (bool, error) {
	f, err := elf.Open(file)
	if err != nil {
		var bad *elf.FormatError
		if errors.As(err, &bad) {
			return false, nil
		}
		return false, err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return false, nil
		}
	}
	return true, nil
}

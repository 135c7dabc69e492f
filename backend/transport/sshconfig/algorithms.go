package sshconfig

import (
	"path"
	"slices"
	"strings"
)

// Algorithms are the algorithms that a configuration allows, each a list as ssh_config has it: separated by
// commas, with * and ?; one that begins with +, - or ^ changes what is usual. "" is what is usual.
type Algorithms struct {
	Ciphers      string
	MACs         string
	KeyExchanges string // KexAlgorithms
	HostKeys     string // HostKeyAlgorithms
}

// Choose returns what a list allows: of usual, which is in the order of our own preference, and of all, which has
// what is out of use too. It is empty where nothing of the list is known here, and nil for an empty list.
//
// What is usual keeps its order: ssh -G prints every list whole, whether the user wrote it or not, and
// OpenSSH's order prefers a cipher that is the slower one here.
func Choose(list string, usual, all []string) []string {
	list = strings.TrimSpace(list)
	if list == "" {
		return nil
	}
	change := list[0]
	if strings.IndexByte("+-^", change) >= 0 {
		list = list[1:]
	}
	patterns := strings.Split(list, ",")
	named := func(name string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			ok, err := path.Match(strings.TrimSpace(p), name)
			return ok && err == nil
		})
	}
	rest := func() (out []string) { // what is asked for although it is not usual
		for _, a := range all {
			if named(a) && !slices.Contains(usual, a) {
				out = append(out, a)
			}
		}
		return out
	}
	out := []string{}
	switch change {
	case '-':
		for _, a := range usual {
			if !named(a) {
				out = append(out, a)
			}
		}
		return out
	case '+':
		return append(append(out, usual...), rest()...)
	case '^':
		for _, a := range usual {
			if named(a) {
				out = append(out, a)
			}
		}
		out = append(out, rest()...)
		for _, a := range usual {
			if !named(a) {
				out = append(out, a)
			}
		}
		return out
	}
	for _, a := range usual {
		if named(a) {
			out = append(out, a)
		}
	}
	return append(out, rest()...)
}

// Package environ works on environments: lists of NAME=value.
package environ

import "strings"

// Lookup returns the last value of a variable, or "".
func Lookup(env []string, key string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if k, v, _ := strings.Cut(env[i], "="); k == key {
			return v
		}
	}
	return ""
}

// Merge returns env changed by over; a later value replaces an earlier one. What is no variable is
// dropped.
func Merge(env []string, over ...string) []string {
	at := map[string]int{}
	out := make([]string, 0, len(env)+len(over))
	for _, list := range [][]string{env, over} {
		for _, kv := range list {
			k, _, ok := strings.Cut(kv, "=")
			if !ok || k == "" || strings.IndexByte(kv, 0) >= 0 {
				continue
			}
			if i, seen := at[k]; seen {
				out[i] = kv
				continue
			}
			at[k] = len(out)
			out = append(out, kv)
		}
	}
	return out
}

package sshconfig

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChoose(t *testing.T) {
	usual, all := []string{"gcm", "ctr-128", "ctr-256"}, []string{"gcm", "ctr-128", "ctr-256", "cbc", "rc4"}
	for list, want := range map[string][]string{
		"":                      nil,
		"ctr-256,gcm":           {"gcm", "ctr-256"},
		"ctr-*":                 {"ctr-128", "ctr-256"},
		"ctr-???, cbc":          {"ctr-128", "ctr-256", "cbc"},
		"chacha":                {},
		"+cbc":                  {"gcm", "ctr-128", "ctr-256", "cbc"},
		"+gcm":                  {"gcm", "ctr-128", "ctr-256"},
		"-ctr-*":                {"gcm"},
		"-*":                    {},
		"^ctr-256,rc4":          {"ctr-256", "rc4", "gcm", "ctr-128"},
		"-":                     {"gcm", "ctr-128", "ctr-256"},
		"[":                     {},
		"+[,cbc":                {"gcm", "ctr-128", "ctr-256", "cbc"},
		"chacha,rc4,gcm,,ctr-*": {"gcm", "ctr-128", "ctr-256", "rc4"},
	} {
		require.Equal(t, want, Choose(list, usual, all), "%q", list)
	}
}

func FuzzChoose(f *testing.F) {
	for _, s := range []string{"a,b", "+c", "-*", "^c,?", "[", "\\", ",,"} {
		f.Add(s)
	}
	usual, all := []string{"a", "b"}, []string{"a", "b", "c"}
	f.Fuzz(func(t *testing.T, list string) {
		got := Choose(list, usual, all)
		sorted := slices.Clone(got)
		slices.Sort(sorted)
		require.Len(t, slices.Compact(sorted), len(got), "something is there twice")
		for _, a := range got {
			require.Contains(t, all, a)
		}
	})
}

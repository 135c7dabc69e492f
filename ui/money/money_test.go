package money

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func ptr(v float64) *float64 { return &v }

func TestMoney(t *testing.T) {
	for v, want := range map[float64]string{0: "$0", 0.0001: "<$0.001", 0.012: "$0.012", 0.4: "$0.40", 1.006: "$1.01",
		1234.5: "$1234", -0.5: "$-0.50"} {
		require.Equal(t, want, USD(v), "%v", v)
	}
	require.Equal(t, []string{"-", "$0", "$2.50"}, []string{Maybe(nil), Maybe(ptr(0)), Maybe(ptr(2.5))})
	require.Equal(t, []string{"-", "$0/h", "$2.50/h"}, []string{PerHour(nil), PerHour(ptr(0)), PerHour(ptr(2.5))})
	require.Equal(t, []string{"$0", "-", "$2.50", "$2.50+?"},
		[]string{Sum(0, false), Sum(0, true), Sum(2.5, false), Sum(2.5, true)})
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{-1: "0 B", 0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 24 << 30: "24 GiB",
		1023 << 20: "1023 MiB", 1 << 40: "1.0 TiB"} {
		require.Equal(t, want, Bytes(n), "%d", n)
		require.LessOrEqual(t, len(Bytes(n)), 8)
	}
	for want, v := range map[string][2]int64{"31/80 GiB": {31 << 30, 80 << 30}, "472/1152 GiB": {472 << 30, 1152 << 30}, "5.4/8 TiB": {5530 << 30, 8 << 40},
		"0/16 GiB": {0, 16 << 30}, "3/7 B": {3, 7}, "1.5/40 GiB": {3 << 29, 40 << 30}} {
		require.Equal(t, want, Of(v[0], v[1]))
	}
	require.Equal(t, []string{"-", "24 GiB"}, []string{Size(0), Size(24 << 30)})
}

func TestReadBytes(t *testing.T) {
	for s, want := range map[string]int64{"8GB": 8e9, "1.5 GiB": 3 << 29, "7": 7, "0": 0, "": 0, "GB": 0, "-1GB": 0, "NaN": 0, "9e9EB": 0} {
		n, ok := ReadBytes(s)
		require.Equal(t, want > 0, ok, s)
		if ok {
			require.Equal(t, want, n, s)
		}
	}
}

// What cmd and ui say of money and of bytes, they say in this package's words.
func TestNobodyElseWordsThem(t *testing.T) {
	own := regexp.MustCompile(`humanize\.I?Bytes\(|"\$%|%[.0-9]*[df][KMGT]i?B?"|"free"`)
	seen := 0
	for _, dir := range []string{"../../ui", "../../cmd"} {
		require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
				filepath.Base(filepath.Dir(path)) == "money" {
				return err
			}
			seen++
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Empty(t, own.FindAllString(string(text), -1), path)
			return nil
		}))
	}
	require.Greater(t, seen, 100)
}

package process

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseStatWithAHostileName(t *testing.T) {
	st, err := parseStat([]byte("77 (a) R 1 2 (b) S 5 6 7 34816 9 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0\n"))
	require.NoError(t, err)
	require.Equal(t, stat{ppid: 5, pgid: 6, session: 7, start: 4242, tty: true}, st)
	for _, bad := range []string{"", "1 (x", "1 (x) S 1", "1 (x) S a 6 7 0 9 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0"} {
		_, err := parseStat([]byte(bad))
		require.Error(t, err, bad)
	}
}

func TestParseMounts(t *testing.T) {
	got := parseMounts([]byte(`30 23 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/freezer rw shared:9 - cgroup cgroup rw,freezer
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
broken
`))
	require.Equal(t, []cgroupMount{{"/sys/fs/cgroup/unified", true}, {"/sys/fs/cgroup/freezer", false}}, got)
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("77 (a) R 1 2 (b) S 5 6 7 34816 9 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0\n"))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = parseStat(b) })
}

func FuzzParseMounts(f *testing.F) {
	f.Add([]byte("31 30 0:27 / /sys/fs/cgroup/freezer rw shared:9 - cgroup cgroup rw,freezer\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range parseMounts(b) {
			if m.path == "" {
				t.Fatal("a mount without a path")
			}
		}
	})
}

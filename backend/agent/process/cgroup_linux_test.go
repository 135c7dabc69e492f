package process

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseMounts(t *testing.T) {
	got := parseMounts([]byte(`30 23 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/freezer rw shared:9 - cgroup cgroup rw,freezer
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
broken
`))
	require.Equal(t, []cgroupMount{{"/sys/fs/cgroup/unified", true}, {"/sys/fs/cgroup/freezer", false}}, got)
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

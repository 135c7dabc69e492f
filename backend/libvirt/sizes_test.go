package libvirt

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSizesFile(t *testing.T) {
	b := settings{sizes: "/nowhere/sizes.toml"}
	all, err := b.catalogue()
	require.NoError(t, err)
	n := 0
	for _, z := range all {
		if z.Default {
			n++
		}
	}
	require.Equal(t, 1, n)
	b.sizesSet = true
	_, err = b.catalogue()
	require.ErrorContains(t, err, "/nowhere/sizes.toml")

	own, err := parseSizes([]byte("[[size]]\nname='cpu-2'\nvcpus=3\nmemory='5GiB'\n[[size]]\nname='mine'\nvcpus=1\nmemory='512MiB'\ndisk='1GB'\ndefault=true\n"), "f")
	require.NoError(t, err)
	merged := mergeSizes(all, own)
	by := map[string]size{}
	n = 0
	for _, z := range merged {
		by[z.Name] = z
		if z.Default {
			n++
		}
	}
	require.Equal(t, []any{3, int64(5 << 30), int64(1e9), true, 1}, []any{by["cpu-2"].VCPUs, by["cpu-2"].memory,
		by["mine"].disk, by["mine"].Default, n})

	no := func(size) bool { return false }
	for _, c := range []struct {
		h    hostFacts
		want string
		n    int
	}{{hostFacts{vcpus: 2, memory: 8 << 30}, "cpu-2", 2}, {hostFacts{vcpus: 1, memory: 8 << 30}, "cpu-1", 1},
		{hostFacts{vcpus: 1, memory: 1 << 20}, "", 0}, {hostFacts{vcpus: 64, memory: 1 << 40}, "cpu-2", 6}} {
		got := offered(all, c.h, no)
		require.Len(t, got, c.n)
		for _, z := range got {
			require.Equal(t, z.Name == c.want, z.Default, "%+v", c)
		}
	}
	big := size{VCPUs: 64, memory: 999 << 30, GPUs: 2, GPU: "L4"}
	require.Equal(t, []string{"it has 2 of 64 vCPUs", "it has 8.0 GiB of 999 GiB of memory",
		"it has fewer than 2 GPUs named L4 that machines can be given"}, lacks(big, hostFacts{vcpus: 2, memory: 8 << 30}, no))
	_, err = parseSizes([]byte("# mine\n[[size]]\nname='a'\nvcpus=1\nmemory='1GiB'\n[[size]]\nname='b'\nvcpus=0\n"),
		"the file")
	require.ErrorContains(t, err, "the file:6: the size \"b\": vcpus must be")
	for _, bad := range []string{"x", "[[size]]\nname=''\nvcpus=1\nmemory='1GiB'",
		"[[size]]\nname='a'\nvcpus=0\nmemory='1GiB'", "[[size]]\nname='a'\nvcpus=1\nmemory='1KiB'",
		"[[size]]\nname='a'\nvcpus=1\nmemory='1GiB'\ndisk='x'", "[[size]]\nname='a'\nvcpus=1\nmemory='1GiB'\ncolour=1",
		"[[size]]\nname='a'\nvcpus=1\nmemory='1GiB'\n[[size]]\nname='a'\nvcpus=1\nmemory='1GiB'",
		"[[size]]\nname='a'\nvcpus=1\nmemory='1GiB'\ngpus=-1"} {
		_, err := parseSizes([]byte(bad), "the file")
		require.ErrorContains(t, err, "the file", bad)
	}
}

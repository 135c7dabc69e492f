package job

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/queue"
)

func TestHints(t *testing.T) {
	for log, want := range map[string]string{
		"": "",
		"Traceback\n  x()\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n":                  hintGPUMem,
		"jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate":            hintGPUMem,
		"ValueError: invalid literal for int() with base 10: 'GPU-3f2a'\n":                                            hintGPUIDs,
		"ValueError: invalid literal for int() with base 10: 'abc'\n":                                                 "",
		"[W socket.cpp:426] The server socket has failed to bind to [::]:29500 (errno: 98 - Address already in use).": hintTorch,
		"OSError: [Errno 98] Address already in use: 8888":                                                            "",
	} {
		require.Equal(t, want, hintOf(queue.ByExit, 0, "", []byte(log)), log)
		require.Empty(t, hintOf(queue.ByCancel, 0, "", []byte(log)), log)
	}
	require.Equal(t, hintOOM, hintOf(queue.ByOOM, 8e9, "", nil))
	require.Equal(t, hintFull, hintOf(queue.ByOOM, 0, "", nil))
}

func FuzzHints(f *testing.F) {
	f.Add("CUDA out of memory")
	f.Add("Address already in use\x0029500")
	f.Fuzz(func(t *testing.T, log string) {
		if h := hintOf(queue.ByExit, 0, "", []byte(log)); h == hintTorch {
			require.True(t, strings.Contains(log, torchPort))
		}
	})
}

func TestFailedRank(t *testing.T) {
	require.Equal(t, "rank 1 has ended with 3",
		failedRank([]byte("[0] x\nberth: rank 1 has ended with 3: the others are told to end\n[0] told\n")))
	for _, log := range []string{"", "berth: rank 1 has ended", "berth: rank 1\n: the others are told to end\n"} {
		require.Empty(t, failedRank([]byte(log)))
	}
}

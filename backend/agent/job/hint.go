package job

import (
	"bytes"

	"berth/backend/base/plaintext"
	"berth/queue"
)

// hintLines and hintBytes are how much of the end of a failure's log is looked at for a hint: traces are long.
const (
	hintLines = 300
	hintBytes = 64 << 10
)

// Hints for failures of which the log says the reason in words that programs are known to use.
const (
	hintOOM     = "give it more with --mem, or have it need less: fewer workers that load data, a smaller batch"
	hintFull    = "--mem keeps jobs from taking each other's memory; fewer at once (berth set NAME jobs.slots=1) leave more for each"
	hintGPUMem  = "a GPU had no memory left for it: a smaller batch needs less, and a job without --gpu-mem has its GPUs for itself"
	hintGPUIDs  = "it takes what CUDA_VISIBLE_DEVICES has for numbers: submit it with --gpu-ids index"
	hintTorch   = "another process has the port 29500: torchrun --rdzv-endpoint=localhost:0, or --env MASTER_PORT=29501"
	torchPort   = "29500"
	wantsNumber = "invalid literal for int() with base 10: "
)

// outOfGPU are what the frameworks say where a GPU has too little memory.
var outOfGPU = []string{"CUDA out of memory", "torch.OutOfMemoryError", "torch.cuda.OutOfMemoryError",
	"CUDA_ERROR_OUT_OF_MEMORY", "RESOURCE_EXHAUSTED: Out of memory", "HIP out of memory"}

// inUse are what the systems and libraries say of a port that another process has.
var inUse = []string{"Address already in use", "EADDRINUSE", "errno: 98"}

// hintOf is what may help a job that failed: by its cause, or by the end of its log. beside is who else had memory
// of its GPUs. "": nothing is known.
func hintOf(cause queue.Cause, memory int64, beside string, tail []byte) string {
	has := func(words ...string) bool {
		for _, w := range words {
			if bytes.Contains(tail, []byte(w)) {
				return true
			}
		}
		return false
	}
	switch {
	case cause == queue.ByOOM && memory == 0:
		return hintFull
	case cause == queue.ByOOM:
		return hintOOM
	case cause != queue.ByExit && cause != queue.BySignal:
		return ""
	case has(outOfGPU...) && beside != "":
		return hintGPUMem + "; beside it had " + beside
	case has(outOfGPU...):
		return hintGPUMem
	case has(wantsNumber+"'GPU-", wantsNumber+`"GPU-`, wantsNumber+"b'GPU-"):
		return hintGPUIDs
	case has(inUse...) && has(torchPort):
		return hintTorch
	}
	return ""
}

// failedRank says which rank failed first, as the end of a log has it: "rank 1 has ended with 3"; "": it does not
// say it.
func failedRank(tail []byte) string {
	_, rest, ok := bytes.Cut(tail, []byte("berth: rank "))
	said, _, ended := bytes.Cut(rest, []byte(": the others are told to end\n"))
	if !ok || !ended || len(said) > 60 || bytes.IndexByte(said, '\n') >= 0 {
		return ""
	}
	return "rank " + plaintext.Clean(string(said))
}

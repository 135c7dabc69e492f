// Package ranks is the main process of a job of several processes, one a GPU (--ranks N): it starts them, each with its
// number in RANK and LOCAL_RANK and how many there are in WORLD_SIZE, as torch.distributed and others read them, and
// puts "[2] " before each line that number 2 prints. Each gets the signals of the job itself. One that fails ends the
// others, and its code is the job's.
//
// The shim's program plays it, so that it is small: it lives as long as the job.
package ranks

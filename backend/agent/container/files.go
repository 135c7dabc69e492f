package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"berth/backend/base/atomicfile"
)

const (
	progressName = "container.json"
	resultName   = "container-end.json"
	filesVersion = 1
)

// Progress is how far a container is.
type Progress struct {
	Version int `json:"version"`
	// Host is where the engine listens that has it.
	Host string `json:"host"`
	// LogStart is the size of the job's log before anything of the container was in it: what comes after is the
	// container's, byte for byte.
	LogStart int64 `json:"log_start"`
	// Started says that it was told to start, or is about to be. Without it, it was made, or is about to be.
	Started  bool     `json:"started,omitempty"`
	Warnings []string `json:"warnings,omitempty"` // of the engine
}

// Result is how a container ended.
type Result struct {
	Version int       `json:"version"`
	EndedAt time.Time `json:"ended_at"`
	Exit    int       `json:"exit"`             // as the engine says it
	Failed  string    `json:"failed,omitempty"` // why it was not started
	Lost    string    `json:"lost,omitempty"`   // why its exit code is not known
	Signal  string    `json:"signal,omitempty"` // that ended it before it was started
	// Killed is how many processes of it the system killed for want of memory; CPUSeconds and PeakMemory (in bytes) are
	// what it used. 0: none, or it is not known.
	Killed     int     `json:"killed,omitempty"`
	CPUSeconds float64 `json:"cpu_seconds,omitempty"`
	PeakMemory int64   `json:"peak_memory_bytes,omitempty"`
	// Warnings are for who looks at the job.
	Warnings []string `json:"warnings,omitempty"`
}

// ReadProgress reads how far the container of a run is; ok is false where it was not made.
func ReadProgress(dir string) (p Progress, ok bool, err error) {
	ok, err = read(filepath.Join(dir, progressName), &p, &p.Version)
	return p, ok, err
}

// ReadResult reads how the container of a run ended; ok is false where that is not known yet.
func ReadResult(dir string) (r Result, ok bool, err error) {
	ok, err = read(filepath.Join(dir, resultName), &r, &r.Version)
	return r, ok, err
}

// Write keeps it, durably.
func (p Progress) Write(dir string) error {
	p.Version = filesVersion
	return atomicfile.Write(filepath.Join(dir, progressName), p)
}

// Write keeps it, durably.
func (r Result) Write(dir string) error {
	r.Version = filesVersion
	return atomicfile.Write(filepath.Join(dir, resultName), r)
}

const readyName = "container.ready"

// SayReady says that this program can be told something from now on.
func SayReady(dir string) error {
	return os.WriteFile(filepath.Join(dir, readyName), []byte(strconv.Itoa(os.Getpid())), 0o600)
}

// Ready reports whether a process has said so.
func Ready(dir string, pid int) bool {
	b, err := os.ReadFile(filepath.Join(dir, readyName))
	return err == nil && string(b) == strconv.Itoa(pid)
}

func read(path string, v any, version *int) (ok bool, err error) {
	err = atomicfile.Read(path, v)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case *version != filesVersion:
		return false, fmt.Errorf("%s is of version %d, and this program knows %d", path, *version, filesVersion)
	}
	return true, nil
}

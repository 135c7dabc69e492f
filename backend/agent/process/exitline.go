package process

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"berth/backend/base/atomicfile"
	"berth/backend/base/flock"
	"berth/backend/transport/wire"
	"berth/gpu/procs/proc"
)

// Exit is how a process ended.
type Exit struct {
	wire.ExitStatus
	EndedAt time.Time `json:"ended_at"`
	// Errno is the system's number for why the program could not be started; 0: it was.
	Errno int `json:"errno,omitempty"`
	// CPUSeconds is what all its processes used that had ended by then, and PeakMemory the most that they held at once,
	// in bytes: of all where a control group tells, else of the largest. 0: it isn't known.
	CPUSeconds float64 `json:"cpu_seconds,omitempty"`
	PeakMemory int64   `json:"peak_memory_bytes,omitempty"`
	// Killed is how many of its processes the system had killed for want of memory by then.
	Killed int `json:"killed,omitempty"`
	// Alone says that nothing of it is left: its shim has waited for all that it left behind. It stands in a line of its
	// own.
	Alone bool `json:"-"`
}

// begun is who was started, written once it runs.
type begun struct {
	Child proc.Identity `json:"child"`
	At    time.Time     `json:"at"`
}

// The exit of a process is one line in a file of its folder, "exit {JSON} CHECKSUM\n". Its room is taken before the
// process starts, so that a full disk does not keep it from being written. Where the process has no terminal, a line
// "runs {JSON} CHECKSUM\n" stands before it, and "alone {} CHECKSUM\n" after it once nothing of it is left. The shim
// holds the file's lock as long as it lives.
const (
	exitName  = "exit"
	exitWord  = "exit "
	runsWord  = "runs "
	aloneWord = "alone "
	exitRoom  = 4096 // bytes: one block
	// oldExitName is where shims of protocol 1 wrote it, as a file of JSON.
	oldExitName = "exit.json"
)

// ErrExitLine is returned where an exit line is torn, or is no such line: how the process ended isn't known.
var ErrExitLine = errors.New("the line that says how the process ended is torn")

// ErrBegun is returned where another shim keeps, or has kept, the process of this folder.
var ErrBegun = errors.New("this process has begun already")

// formatExit makes an exit line that is no longer than room.
func formatExit(x Exit, room int) ([]byte, error) {
	line, err := formatLine(exitWord, x)
	if len(line) > room {
		x.Reason = "" // words for people only
		line, err = formatLine(exitWord, x)
	}
	return line, err
}

func formatLine(word string, v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	line := append([]byte(word), b...)
	return fmt.Appendf(line, " %08x\n", crc32.ChecksumIEEE(line)), nil
}

// parseExit finds the exit in what was written, and who runs. What no line accounts for is ErrExitLine: it is never
// believed, and never taken for nothing.
func parseExit(b []byte) (x Exit, ok bool, who begun, err error) {
	for len(b) > 0 {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		b = rest
		if len(line) == 0 {
			continue // room that was never used
		}
		if whole {
			if parseLine(line, exitWord, &x) {
				next, _, whole := bytes.Cut(b, []byte{'\n'})
				x.Alone = whole && parseLine(next, aloneWord, &struct{}{})
				return x, true, who, nil
			}
			if parseLine(line, runsWord, &who) {
				continue
			}
		}
		err = ErrExitLine
	}
	return Exit{}, false, who, err
}

// parseLine reads a line that begins with a word, without its end, into v.
func parseLine(line []byte, word string, v any) bool {
	i := bytes.LastIndexByte(line, ' ')
	if i < len(word) || len(line)-i != 9 || !bytes.HasPrefix(line, []byte(word)) {
		return false
	}
	sum, err := strconv.ParseUint(string(line[i+1:]), 16, 32)
	if err != nil || uint32(sum) != crc32.ChecksumIEEE(line[:i]) {
		return false
	}
	return json.Unmarshal(line[len(word):i], v) == nil
}

// exitFile is the place for an exit line, which begins after what is written there already.
type exitFile struct {
	*os.File
	at, end int64 // of the exit line; end is 0 before it is written
}

// reserveExit makes the file with its room in a process's folder, and takes its lock. ErrBegun means that the folder
// is another shim's, and any error that there is no room.
func reserveExit(dir string) (exitFile, error) {
	f, err := os.OpenFile(filepath.Join(dir, exitName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return exitFile{}, err
	}
	if err = flock.Try(f); err == nil {
		// One that was killed before it wrote its record has started nothing.
		if _, seen := os.Lstat(filepath.Join(dir, RecordName)); !errors.Is(seen, fs.ErrNotExist) {
			err = cmp.Or(seen, flock.ErrHeld)
		}
	}
	if err != nil {
		_ = f.Close()
		if errors.Is(err, flock.ErrHeld) {
			err = fmt.Errorf("%w: %s", ErrBegun, dir)
		}
		return exitFile{}, err
	}
	err = allocate(f, exitRoom)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, unix.EINVAL) {
		// The file system can't promise room: blank lines take it. Only a sync makes sure that they do.
		if _, err = f.Write(bytes.Repeat([]byte{'\n'}, exitRoom)); err == nil {
			err = f.Sync()
		}
	}
	if err != nil {
		_ = f.Close() // not removed: another shim may have opened it to take the lock
		return exitFile{}, fmt.Errorf("taking room for how the process ends: %w", err)
	}
	return exitFile{File: f}, nil
}

// runs writes who was started, for whoever looks while it runs: no process outlives the power.
func (f *exitFile) runs(who begun) error {
	line, err := formatLine(runsWord, who)
	if err == nil {
		_, err = f.WriteAt(line, 0)
	}
	if err == nil {
		f.at = int64(len(line))
	}
	return err
}

// alone writes, after the exit, that nothing is left. Where it fails, who looks finds out by looking for processes.
func (f *exitFile) alone() error {
	line, err := formatLine(aloneWord, struct{}{})
	if err == nil {
		_, err = f.WriteAt(line, f.end)
	}
	return err
}

// write writes the line durably, with the one that nothing is left where that is so. It may be tried again.
func (f *exitFile) write(x Exit) error {
	line, err := formatExit(x, exitRoom-int(f.at))
	if err != nil {
		return err
	}
	end := f.at + int64(len(line))
	if x.Alone {
		alone, err := formatLine(aloneWord, struct{}{})
		if err != nil {
			return err
		}
		line = append(line, alone...)
	}
	if _, err := f.WriteAt(line, f.at); err != nil {
		return err
	}
	f.end = end
	return f.Sync() // its name is durable since the record was written
}

// ReadExit reads how the process ended whose folder dir is; ok is false where that is not written there. An error
// means that something is, and can't be believed.
func ReadExit(dir string) (x Exit, ok bool, err error) {
	x, ok, _, err = readExit(dir)
	return x, ok, err
}

func readExit(dir string) (x Exit, ok bool, who begun, err error) {
	f, err := os.Open(filepath.Join(dir, exitName))
	if errors.Is(err, fs.ErrNotExist) {
		x, ok, err = readOldExit(dir)
		return x, ok, who, err
	}
	if err != nil {
		return x, false, who, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 16*exitRoom))
	if err != nil {
		return x, false, who, err
	}
	if x, ok, who, err = parseExit(b); err != nil {
		err = fmt.Errorf("%w: %s", err, f.Name())
	}
	return x, ok, who, err
}

func readOldExit(dir string) (x Exit, ok bool, err error) {
	err = atomicfile.Read(filepath.Join(dir, oldExitName), &x)
	if errors.Is(err, fs.ErrNotExist) {
		return x, false, nil
	}
	return x, err == nil, err
}

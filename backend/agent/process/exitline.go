package process

import (
	"bytes"
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
	"berth/backend/transport/wire"
)

// Exit is how a process ended.
type Exit struct {
	wire.ExitStatus
	EndedAt time.Time `json:"ended_at"`
}

// The exit of a process is one line in a file of its folder, "exit {JSON} CHECKSUM\n". Its room is taken before the
// process starts, so that a full disk does not keep it from being written.
const (
	exitName = "exit"
	exitWord = "exit "
	exitRoom = 4096 // bytes: one block
	// oldExitName is where shims of protocol 1 wrote it, as a file of JSON.
	oldExitName = "exit.json"
)

// ErrExitLine is returned where an exit line is torn, or is no such line: how the process ended isn't known.
var ErrExitLine = errors.New("the line that says how the process ended is torn")

func formatExit(x Exit) ([]byte, error) {
	for {
		b, err := json.Marshal(x)
		if err != nil {
			return nil, err
		}
		line := append([]byte(exitWord), b...)
		line = fmt.Appendf(line, " %08x\n", crc32.ChecksumIEEE(line))
		if len(line) <= exitRoom {
			return line, nil
		}
		x.Reason = "" // words for people only
	}
}

// parseExit finds the exit in what was written. What no line of it accounts for is ErrExitLine: it is never
// believed, and never taken for nothing.
func parseExit(b []byte) (x Exit, ok bool, err error) {
	for len(b) > 0 {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		b = rest
		if len(line) == 0 {
			continue // room that was never used
		}
		if whole {
			if x, ok := parseExitLine(line); ok {
				return x, true, nil
			}
		}
		err = ErrExitLine
	}
	return Exit{}, false, err
}

func parseExitLine(line []byte) (x Exit, ok bool) {
	i := bytes.LastIndexByte(line, ' ')
	if i < len(exitWord) || len(line)-i != 9 || !bytes.HasPrefix(line, []byte(exitWord)) {
		return x, false
	}
	sum, err := strconv.ParseUint(string(line[i+1:]), 16, 32)
	if err != nil || uint32(sum) != crc32.ChecksumIEEE(line[:i]) {
		return x, false
	}
	return x, json.Unmarshal(line[len(exitWord):i], &x) == nil
}

// exitFile is the place for an exit line.
type exitFile struct{ *os.File }

// reserveExit makes the file with its room in a process's folder. An error means that there is none.
func reserveExit(dir string) (exitFile, error) {
	f, err := os.OpenFile(filepath.Join(dir, exitName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
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
		_ = f.Close()
		_ = os.Remove(f.Name())
		return exitFile{}, fmt.Errorf("taking room for how the process ends: %w", err)
	}
	return exitFile{f}, nil
}

// write writes the line durably. It may be tried again.
func (f exitFile) write(x Exit) error {
	line, err := formatExit(x)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(line, 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(f.Name()))
}

// ReadExit reads how the process ended whose folder dir is; ok is false where that is not written there. An error
// means that something is, and can't be believed.
func ReadExit(dir string) (x Exit, ok bool, err error) {
	f, err := os.Open(filepath.Join(dir, exitName))
	if errors.Is(err, fs.ErrNotExist) {
		return readOldExit(dir)
	}
	if err != nil {
		return x, false, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 16*exitRoom))
	if err != nil {
		return x, false, err
	}
	if x, ok, err = parseExit(b); err != nil {
		err = fmt.Errorf("%w: %s", err, f.Name())
	}
	return x, ok, err
}

func readOldExit(dir string) (x Exit, ok bool, err error) {
	err = atomicfile.Read(filepath.Join(dir, oldExitName), &x)
	if errors.Is(err, fs.ErrNotExist) {
		return x, false, nil
	}
	return x, err == nil, err
}

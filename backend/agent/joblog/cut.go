package joblog

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"berth/backend/base/atomicfile"
)

const (
	logName = "log"
	cutName = "log.cut"
	// Head is how much of its beginning a log with a limit keeps, in bytes.
	Head = 1 << 20
	// cutSize is the length of the line that says what was cut, which is always written in the same place.
	cutSize = 55
)

// Path is the log of the run whose folder is dir.
func Path(dir string) string { return filepath.Join(dir, logName) }

// Cut is what a log has lost: the bytes from From up to To. Both are 0 where nothing was cut.
type Cut struct{ From, To int64 }

// Bytes is how many were cut.
func (c Cut) Bytes() int64 { return c.To - c.From }

// Prepare makes ready that the log in dir can be cut, before anything writes to it. An error says why it can't be.
func Prepare(dir string) error {
	path := filepath.Join(dir, cutName)
	if f, err := openCut(dir, os.O_RDONLY); err == nil && f != nil {
		_, err = readCut(f)
		_ = f.Close()
		if err == nil {
			return nil // prepared before
		}
	}
	// Under another name, since somebody may look at the log already.
	f, err := os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("making the place for what is cut of it: %w", err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, 2*cutSize), 0); err != nil {
		return fmt.Errorf("taking room for what is cut of it: %w", err)
	}
	if err := punch(f, cutSize, 2*cutSize); err != nil {
		_ = f.Close()
		return errors.Join(fmt.Errorf("the file system of %s takes no holes: %w", dir, err), os.Remove(f.Name()))
	}
	err = writeCut(f, Cut{})
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = atomicfile.SyncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("writing what is cut of it: %w", err)
	}
	return nil
}

// writeCut writes what is cut, durably.
func writeCut(f *os.File, c Cut) error {
	line := fmt.Appendf(nil, "cut %020d %020d", c.From, c.To)
	line = fmt.Appendf(line, " %08x\n", crc32.ChecksumIEEE(line))
	if _, err := f.WriteAt(line, 0); err != nil {
		return err
	}
	return f.Sync()
}

// errCut is returned where what was cut can't be read.
var errCut = errors.New("what was cut of the log can't be read")

// readCut reads what is cut. It may be written at the same time: then it is read again.
func readCut(f *os.File) (Cut, error) {
	var b [cutSize]byte
	for range 100 {
		if _, err := f.ReadAt(b[:], 0); err != nil && !errors.Is(err, io.EOF) {
			return Cut{}, fmt.Errorf("%w: %w", errCut, err)
		}
		if c, ok := parseCut(b[:]); ok {
			return c, nil
		}
	}
	return Cut{}, errCut
}

func parseCut(b []byte) (c Cut, ok bool) {
	var sum uint32
	if len(b) != cutSize || b[cutSize-1] != '\n' {
		return c, false
	}
	if n, err := fmt.Sscanf(string(b), "cut %d %d %x\n", &c.From, &c.To, &sum); n != 3 || err != nil {
		return Cut{}, false
	}
	if sum != crc32.ChecksumIEEE(b[:cutSize-10]) || c.From < 0 || c.To < c.From {
		return Cut{}, false
	}
	return c, true
}

// openCut opens the place for what is cut; nil: nothing ever is.
func openCut(dir string, flag int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, cutName), flag, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f, err
}

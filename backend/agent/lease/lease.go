package lease

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/backend/base/flock"
	"berth/backend/base/plaintext"
)

// Holder says in words who holds a GPU. It was written by anybody: show it as plain text, and believe nothing.
type Holder struct {
	Version  int       `json:"version"`
	User     string    `json:"user,omitzero"`
	UID      int       `json:"uid"`
	Home     string    `json:"home,omitzero"` // of the queue's state folder
	Job      string    `json:"job,omitzero"`
	Attempt  int       `json:"attempt,omitzero"`
	Command  string    `json:"command,omitzero"`
	Reserved int64     `json:"reserved_bytes,omitzero"` // of its memory, by one that shares it; 0: all
	Since    time.Time `json:"since,omitzero"`
}

// version is that of the format of Holder.
const version = 1

// most is how many bytes of a file are read.
const most = 4 << 10

// Who says in words who it is.
func (h Holder) Who() string {
	if h.User == "" && h.Job == "" {
		return "somebody else"
	}
	return plaintext.Clean(fmt.Sprintf("job %s of %s", h.Job, h.User))
}

// HeldError says that somebody else holds a GPU.
type HeldError struct {
	UUID string
	By   Holder // the zero value where nobody knows
}

func (e *HeldError) Error() string {
	return e.By.Who() + " has the GPU " + e.UUID
}

// Lease are GPUs that are held. They are free once it is closed here, and in all processes that got its files.
type Lease struct{ files []*os.File }

// Files are what the program inherits that uses the GPUs.
func (l *Lease) Files() []*os.File { return l.files }

// Close gives up this process's hold.
func (l *Lease) Close() {
	for _, f := range l.files {
		_ = f.Close()
	}
}

const (
	// tries and tryAgain are for those who only look whether a GPU is held, for a moment (Holders).
	tries    = 5
	tryAgain = 2 * time.Millisecond
)

// Take holds GPUs, all or none: exclusively, or together with other jobs of the same queue that share them where
// h.Reserved is set. A GPU that somebody else holds gives a HeldError.
func (f *Folder) Take(uuids []string, h Holder) (_ *Lease, err error) {
	l := &Lease{}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	h.Version = version
	h.User, h.Home, h.Job, h.Command = short(h.User), short(h.Home), short(h.Job), short(h.Command)
	b, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	// What is written only says who it is: the lock counts, also on a full disk.
	write := func(file *os.File) {
		_ = file.Truncate(0)
		_, _ = file.WriteAt(append(b, '\n'), 0)
	}
	lock := flock.Try
	if h.Reserved > 0 {
		lock = func(file *os.File) error { return share(file, &h, write) }
	}
	for _, uuid := range slices.Sorted(slices.Values(uuids)) { // two that want the same ones don't take half of them each
		file, err := f.hold(uuid, lock)
		if err != nil {
			return nil, err
		}
		l.files = append(l.files, file)
		write(file)
	}
	return l, nil
}

// share locks a file together with other jobs of the same queue: it alone knows how much of the memory each of them
// has. Whoever is the first says in the file whose it is, before others can join.
func share(file *os.File, h *Holder, write func(*os.File)) error {
	err := flock.Try(file)
	first := err == nil
	if first {
		write(file)
	} else if !errors.Is(err, flock.ErrHeld) {
		return err
	}
	if err := flock.TryShared(file); err != nil {
		return err
	}
	if by := read(file); !first && (by.UID != h.UID || by.Home != h.Home) {
		_ = flock.Release(file)
		return flock.ErrHeld
	}
	return nil
}

// hold opens a GPU's file and locks it.
func (f *Folder) hold(uuid string, lock func(*os.File) error) (*os.File, error) {
	for range 2 * tries {
		file, err := f.open(uuid, true)
		if err != nil {
			return nil, err
		}
		err = lockFor(file, lock)
		switch {
		case errors.Is(err, flock.ErrHeld):
			err = &HeldError{uuid, read(file)}
		case err == nil && f.is(uuid, file):
			return file, nil
		}
		_ = file.Close()
		if err != nil {
			return nil, err
		} // else somebody has removed it: others lock another one
	}
	return nil, fmt.Errorf("the lease of the GPU %s can't be used: somebody removes it all the time", uuid)
}

// is reports whether a file is still the GPU's.
func (f *Folder) is(uuid string, file *os.File) bool {
	now, err := os.Lstat(filepath.Join(f.dir, uuid))
	if err != nil {
		return false
	}
	fi, err := file.Stat()
	return err == nil && os.SameFile(now, fi)
}

// lockFor tries to lock a file, a few times: somebody may only be looking (Holders).
func lockFor(file *os.File, lock func(*os.File) error) (err error) {
	for try := range tries {
		if try > 0 {
			time.Sleep(tryAgain)
		}
		if err = lock(file); !errors.Is(err, flock.ErrHeld) {
			break
		}
	}
	return err
}

// Holders says who holds some of the GPUs now. One whose file can't be used is left out: Take says why.
func (f *Folder) Holders(uuids []string) map[string]Holder {
	// /proc/locks would tell without a lock of our own, but not in a container, which does not see the others' locks.
	out := map[string]Holder{}
	for _, uuid := range uuids {
		file, err := f.open(uuid, false)
		if err != nil {
			continue
		}
		if errors.Is(lockFor(file, flock.Try), flock.ErrHeld) {
			out[uuid] = read(file)
		}
		_ = file.Close() // and with it the lock
	}
	return out
}

// read reads who holds a file, as far as it says so.
func read(file *os.File) Holder {
	b, err := io.ReadAll(io.NewSectionReader(file, 0, most))
	if err != nil {
		return Holder{}
	}
	return parse(b)
}

// parse reads a file's contents, which anybody may have written.
func parse(b []byte) (h Holder) {
	if err := json.Unmarshal(b, &h); err != nil || h.Version < 1 {
		return Holder{}
	}
	h.User, h.Home, h.Job, h.Command = short(h.User), short(h.Home), short(h.Job), short(h.Command)
	return h
}

func short(s string) string {
	const longest = 200
	return strings.ToValidUTF8(s[:min(len(s), longest)], "")
}

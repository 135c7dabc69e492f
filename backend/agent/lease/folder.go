package lease

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Made is the folder that an administrator may make, with mode 1777; the others are made where they are missing.
const Made = "/var/lib/berth/host"

// Candidates are the folders, the first that can be used counts. An environment names another one for tests.
func Candidates(getenv func(string) string) []string {
	if dir := getenv("BERTH_LEASES"); dir != "" {
		return []string{dir}
	}
	return []string{Made, "/run/lock/berth", "/tmp/.berth-host"}
}

// Folder is the folder of leases of a host. All methods may be called at once.
type Folder struct{ dir string }

// Open finds or makes the folder. One that is there and can't be used is an error, which says what to do: with another
// one instead, users would not see each other. The next candidate counts only where one can't be made.
func Open(candidates []string) (*Folder, error) {
	var failed []error
	for _, dir := range candidates {
		made, err := ensure(dir)
		if err == nil && !made {
			err = usable(dir)
		}
		if err == nil {
			return &Folder{dir}, nil
		}
		if _, there := os.Lstat(dir); there == nil {
			return nil, fmt.Errorf("users of this host can't share its GPUs: %w", err)
		}
		if dir != Made {
			failed = append(failed, err)
		}
	}
	return nil, fmt.Errorf("users of this host can't share its GPUs: %w", errors.Join(failed...))
}

// Dir is where it is.
func (f *Folder) Dir() string { return f.dir }

// mode is that of the folder: all can put files there, and nobody can take another's away.
const mode = fs.ModeSticky | 0o777

// ensure makes a folder where there is none.
func ensure(dir string) (made bool, err error) {
	if dir == Made {
		return false, nil // an administrator makes it
	}
	switch err := os.Mkdir(dir, 0o700); {
	case err == nil:
		return true, os.Chmod(dir, mode) // the umask counts not
	case errors.Is(err, fs.ErrExist):
		return false, nil
	default:
		return false, err
	}
}

// usable looks whether all can use a folder, and nobody can take another's files away.
func usable(dir string) error {
	var fi fs.FileInfo
	for try := 0; ; try++ {
		var err error
		if fi, err = os.Lstat(dir); err != nil {
			return err
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		switch {
		case !fi.IsDir():
			return fmt.Errorf("%s is no folder (%s): an administrator has to remove it", dir, fi.Mode())
		case fi.Mode()&mode == mode:
			return nil
		case ok && int(st.Uid) == os.Getuid(): // whoever made it was ended before it was done
			if err := os.Chmod(dir, mode); err != nil {
				return err
			}
		case try == 50:
			return fmt.Errorf("%s can't be used by all (%s): chmod 1777 %s", dir, fi.Mode(), dir)
		default:
			time.Sleep(tryAgain) // whoever has just made it is about to open it to all
		}
	}
}

// open opens a GPU's file, which is made where there is none.
func (f *Folder) open(uuid string, make bool) (*os.File, error) {
	if !validUUID(uuid) {
		return nil, fmt.Errorf("%.90q is no UUID of a GPU", uuid)
	}
	path := filepath.Join(f.dir, uuid)
	const flags = unix.O_RDWR | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK // a pipe does not hold it up
	for try := range 2 * tries {
		fd, err := unix.Open(path, flags, 0)
		if err == unix.ENOENT && make {
			fd, err = unix.Open(path, flags|unix.O_CREAT|unix.O_EXCL, 0o600)
			if err == nil {
				err = unix.Fchmod(fd, 0o666) // the umask counts not
				if err != nil {
					_ = unix.Close(fd)
				}
			}
			if err == unix.EEXIST { // another was faster
				continue
			}
		}
		if err == unix.EINTR {
			continue
		}
		if err == unix.EACCES && try < tries { // whoever has just made it is about to open it to all
			time.Sleep(tryAgain)
			continue
		}
		if err != nil {
			return nil, f.refused(path, &fs.PathError{Op: "open", Path: path, Err: err})
		}
		file := os.NewFile(uintptr(fd), path)
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink == 1 {
			return file, nil
		}
		_ = file.Close()
		return nil, f.refused(path, errors.New("it is no plain file with one name"))
	}
	return nil, f.refused(path, errors.New("others make and remove it all the time"))
}

func (f *Folder) refused(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("the GPU's lease can't be used: %s: %w; its owner or an administrator can remove it", path, err)
}

// validUUID reports whether s can be the UUID of a GPU, and a file's name.
func validUUID(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 80
}

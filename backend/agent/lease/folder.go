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

// Open finds or makes the folder. Its error names each candidate, and why it can't be used.
func Open(candidates []string) (*Folder, error) {
	var failed []error
	for _, dir := range candidates {
		err := usable(dir)
		if err == nil {
			return &Folder{dir}, nil
		}
		if dir != Made || !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	return nil, fmt.Errorf("users of this host can't share its GPUs: %w", errors.Join(failed...))
}

// Dir is where it is.
func (f *Folder) Dir() string { return f.dir }

// usable makes a folder where it is missing, and looks whether everybody can use it and nobody can take another's files
// away.
func usable(dir string) error {
	if dir != Made {
		switch err := os.Mkdir(dir, 0o700); {
		case err == nil:
			if err := os.Chmod(dir, 0o1777|fs.ModeSticky); err != nil { // the umask counts not
				return err
			}
		case !errors.Is(err, fs.ErrExist):
			return err
		}
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case !fi.IsDir():
		return fmt.Errorf("%s is no folder (%s): an administrator has to remove it", dir, fi.Mode())
	case ok && int(st.Uid) != os.Getuid() && st.Uid != 0 && fi.Mode()&fs.ModeSticky == 0:
		return fmt.Errorf("%s is of user %d, who can remove what others put there: chmod 1777 %s", dir, st.Uid, dir)
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("%s can't be written to: %w; chmod 1777 %s", dir, err, dir)
	}
	return nil
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

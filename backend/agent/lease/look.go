package lease

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	osuser "os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/backend/api"
)

// makeMade is how an administrator makes a folder that is nobody's, and stays.
const makeMade = "an administrator can make a folder that no user owns, and that stays, while no job has a GPU: " +
	"sudo mkdir -p -m 1777 " + Made + " (agents use it from their next start on)"

// Look says which folder Open would use, and makes none.
func Look(candidates []string) api.GPUSharing {
	var failed error
	for _, dir := range candidates {
		fi, err := os.Lstat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist) && dir == Made:
			continue
		case errors.Is(err, fs.ErrNotExist):
			if err = unix.Access(filepath.Dir(dir), unix.W_OK|unix.X_OK); err == nil {
				return api.GPUSharing{Folder: dir, State: api.SharingMissing, Fix: makeMade}
			}
			err = &fs.PathError{Op: "making", Path: dir, Err: err}
		case err == nil && !fi.IsDir():
			return api.GPUSharing{Folder: dir, State: api.SharingUnusable,
				Problem: fmt.Sprintf("%s is no folder (%s)", dir, fi.Mode()), Fix: "an administrator can remove it: sudo rm " + dir}
		case err == nil && fi.Mode()&mode != mode:
			return api.GPUSharing{Folder: dir, State: api.SharingUnusable,
				Problem: fmt.Sprintf("%s can't be used by all (%s)", dir, fi.Mode()),
				Fix:     "its owner or an administrator can open it: chmod 1777 " + dir}
		case err == nil && dir == Made:
			return api.GPUSharing{Folder: dir, State: api.SharingMade}
		case err == nil:
			return api.GPUSharing{Folder: dir, State: api.SharingFound, Owner: ownerOf(fi), Fix: makeMade}
		}
		failed = errors.Join(failed, err)
	}
	return api.GPUSharing{State: api.SharingUnusable, Problem: fmt.Sprint(failed), Fix: makeMade}
}

// ownerOf is the name of a file's owner, or the number.
func ownerOf(fi fs.FileInfo) string {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return "somebody"
	}
	uid := strconv.FormatUint(uint64(st.Uid), 10)
	if u, err := osuser.LookupId(uid); err == nil {
		return u.Username
	}
	return "user " + uid
}

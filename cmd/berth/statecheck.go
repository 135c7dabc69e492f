package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"berth/backend/api"
	"berth/backend/base/paths"
	"berth/backend/base/shellquote"
	"berth/ui/money"
)

// stateChecks try whether Berth can write where it keeps things: a folder that is there is no promise.
func stateChecks(h paths.Home) []api.Check {
	var out []api.Check
	for _, f := range []struct{ name, dir, lost, move string }{
		{"state", h.State, "no instance can be made or changed, and nothing of what happens is kept", "BERTH_HOME"},
		{"local instances", h.Data, "no instance can be made on this computer", "BERTH_HOME"},
		{"sockets", h.Run, "no verb can reach the background process", ""},
	} {
		c := api.Check{Area: "host", Name: f.name, Status: "ok", Message: f.dir}
		if path, err := tryWrite(f.dir); err != nil {
			why, fix := unwritable(path, err)
			c.Status, c.Fix = "fail", fix
			c.Message = fmt.Sprintf("%s can't be written (%s): %s", f.dir, why, f.lost)
			if f.move != "" {
				c.Fix += ", or set " + f.move + " to another folder"
			}
		} else if f.name != "state" {
			continue // one line is enough for what is well
		}
		out = append(out, c)
	}
	return out
}

// tryWrite writes a file into dir, or, as long as that is not there, into the nearest folder above it, and removes it.
// It opens what stands in dir for writing too. The path is the one that failed.
func tryWrite(dir string) (path string, err error) {
	at := dir
	for {
		_, err := os.Stat(at)
		if err == nil {
			break
		}
		if at == filepath.Dir(at) || !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return at, err
		}
		at = filepath.Dir(at)
	}
	f, err := os.CreateTemp(at, ".berth-doctor-*")
	if err != nil {
		return at, err
	}
	_, err = f.Write(make([]byte, 4096)) // a full file system takes an empty file
	err = errors.Join(err, f.Sync(), f.Close())
	if rerr := os.Remove(f.Name()); err == nil {
		err = rerr
	}
	if err == nil {
		err = roomAt(at)
	}
	if err != nil || at != dir {
		return at, err
	}
	for _, name := range []string{"berth.db", "daemon.log", "daemon.lock", "start.lock"} { // as another user may have made
		p := filepath.Join(dir, name)
		f, err := os.OpenFile(p, os.O_WRONLY, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return p, err
		}
		_ = f.Close() // nothing was written
	}
	return dir, nil
}

// leastRoom is what Berth needs to keep its state: its store is written in whole pages, beside its log.
const leastRoom = 16 << 20

// roomAt fails where there is too little room, as a full file system does.
func roomAt(dir string) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil || uint64(st.Bavail)*uint64(st.Bsize) >= leastRoom {
		return nil // what can't be told is no fault: it could be written
	}
	return syscall.ENOSPC
}

// unwritable says why path can't be written, and what to do.
func unwritable(path string, err error) (why, fix string) {
	switch {
	case errors.Is(err, syscall.EROFS):
		return "its file system is read-only", "mount it for writing (findmnt -T " + shellquote.Word(path) +
			" shows it; after an error of the disk, dmesg says which)"
	case errors.Is(err, syscall.EDQUOT):
		return "your quota there is used up", "remove what you don't need there (quota -s shows the limits)"
	case errors.Is(err, syscall.ENOSPC):
		p := shellquote.Word(path)
		return fullOf(path), "make room there (df -h " + p + " and df -i " + p + " show how full it is)"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EEXIST):
		return path + " is no folder", "move that file away"
	case errors.Is(err, os.ErrPermission):
		fi, serr := os.Stat(path)
		if serr != nil {
			return "a folder above it is closed to you", "let its owner open it (namei -l " + shellquote.Word(path) + " shows which)"
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		if ok && int(st.Uid) != os.Getuid() {
			me := strconv.Itoa(os.Getuid())
			return fmt.Sprintf("%s belongs to %s, not to you", path, userName(st.Uid)),
				"give it back: sudo chown -R " + me + " " + shellquote.Word(path)
		}
		return fmt.Sprintf("the mode of %s is %04o", path, fi.Mode().Perm()), "open it for yourself: chmod -R u+rwX " +
			shellquote.Word(path)
	}
	return err.Error(), "mend that"
}

// fullOf says what a full file system has too little of.
func fullOf(path string) string {
	var st syscall.Statfs_t
	switch err := syscall.Statfs(path, &st); {
	case err != nil || st.Bavail == 0:
	case st.Ffree == 0 && st.Files > 0:
		return "its file system can hold no more files"
	default:
		return "its file system is full: it has " + money.Bytes(int64(uint64(st.Bavail)*uint64(st.Bsize))) + " left"
	}
	return "its file system is full"
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "user " + id
}

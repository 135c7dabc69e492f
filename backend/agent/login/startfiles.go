package login

import (
	"cmp"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"berth/backend/agent/environ"
)

// startFiles lists the files that shells read when they start, those of all shells, since one may start
// another. A folder stands for the files in it. env tells where zsh and fish have theirs.
func startFiles(home string, env []string) []string {
	out := []string{"/etc/profile", "/etc/profile.d",
		"/etc/bash.bashrc", "/etc/bashrc", "/etc/bash/bashrc", "/etc/bash/bashrc.d",
		"/etc/ksh.kshrc", "/etc/csh.cshrc", "/etc/csh.login", "/etc/fish/config.fish", "/etc/fish/conf.d"}
	for _, f := range []string{".profile", ".bash_profile", ".bash_login", ".bashrc", ".bashrc.d", ".bash_aliases",
		".kshrc", ".mkshrc", ".cshrc", ".tcshrc", ".login"} {
		out = append(out, filepath.Join(home, f))
	}
	for _, f := range []string{"zshenv", "zprofile", "zshrc", "zlogin"} {
		out = append(out, "/etc/"+f, "/etc/zsh/"+f, filepath.Join(home, "."+f))
		if d := environ.Lookup(env, "ZDOTDIR"); d != "" {
			out = append(out, filepath.Join(d, "."+f))
		}
	}
	fish := filepath.Join(cmp.Or(environ.Lookup(env, "XDG_CONFIG_HOME"), filepath.Join(home, ".config")), "fish")
	return append(out, filepath.Join(fish, "config.fish"), filepath.Join(fish, "conf.d"))
}

// stamp tells two contents of a file apart.
type stamp struct {
	modified time.Time
	size     int64
	inode    uint64
}

// stamps are those of files by path; that of a file that is not there is zero.
type stamps map[string]stamp

func stampsOf(paths []string) stamps {
	out := stamps{}
	for len(paths) > 0 {
		path := paths[0]
		paths = paths[1:]
		fi, err := os.Stat(path)
		if err != nil {
			out[path] = stamp{}
			continue
		}
		s := stamp{modified: fi.ModTime().Round(0), size: fi.Size()}
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			s.inode = uint64(st.Ino)
		}
		out[path] = s
		if !fi.IsDir() {
			continue
		}
		entries, _ := os.ReadDir(path)
		for _, e := range entries {
			if !e.IsDir() {
				paths = append(paths, filepath.Join(path, e.Name()))
			}
		}
	}
	return out
}

// stampsLimit is how long a capture waits for the times of the start-up files.
const stampsLimit = time.Second

// stampsWithin is stampsOf where a folder may be on a dead file server: then there are none, and the thread that asked
// is lost until the server is back.
func stampsWithin(paths []string) stamps {
	c := make(chan stamps, 1)
	go func() { c <- stampsOf(paths) }()
	select {
	case s := <-c:
		return s
	case <-time.After(stampsLimit):
		return stamps{}
	}
}

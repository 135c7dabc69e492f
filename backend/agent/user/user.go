// Package user says who the user of this process is: name, home and login shell, as the user database has them.
package user

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Home is the user's home folder: of the user database, else $HOME, else /.
func Home() string {
	if h := os.Getenv("HOME"); filepath.IsAbs(h) {
		return h
	}
	if f := Fields(); len(f) >= 6 && filepath.IsAbs(f[5]) {
		return f[5]
	}
	return "/"
}

// Name is the login name, or the number where there is none.
func Name() string {
	if f := Fields(); len(f) > 0 && f[0] != "" {
		return f[0]
	}
	if u, err := osuser.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}

// Shell is the user's shell. The user database comes first: cron, for one, sets $SHELL to
// /bin/sh for everybody.
func Shell() string {
	var candidates []string
	if f := Fields(); len(f) >= 7 {
		candidates = append(candidates, f[6])
	}
	candidates = append(candidates, os.Getenv("SHELL"))
	if runtime.GOOS == "darwin" { // its user database is not a file
		candidates = append(candidates, "/bin/zsh")
	}
	for _, s := range candidates {
		switch filepath.Base(s) {
		case "nologin", "false", ".":
			continue
		}
		if fi, err := os.Stat(s); filepath.IsAbs(s) && err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return s
		}
	}
	return "/bin/sh"
}

// Fields is this user's line of the user database, from the file or, for users that a
// directory service knows, from getent.
func Fields() []string {
	uid := strconv.Itoa(os.Getuid())
	if f, err := os.Open("/etc/passwd"); err == nil {
		defer f.Close()
		sc := bufio.NewScanner(f)
		for sc.Scan() {
			if x := strings.Split(sc.Text(), ":"); len(x) >= 7 && x[2] == uid {
				return x
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "getent", "passwd", uid).Output()
	if err != nil {
		return nil
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.Split(line, ":")
}

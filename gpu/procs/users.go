package procs

import (
	"context"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"time"
)

// users names users. A directory service may take its time or hang, so a name that is not known yet is the
// number, and comes later.
type users struct {
	look  func(uid int) string
	names map[int]*userName
}

type userName struct {
	name   string
	answer chan string
	at     time.Time
}

const (
	userAgain = 15 * time.Minute
	userLimit = 5 * time.Second
)

func (u *users) init(look func(int) string) {
	u.names = map[int]*userName{}
	if u.look = look; look == nil {
		u.look = lookUser
	}
}

func (u *users) name(uid int) string {
	n := u.names[uid]
	if n == nil {
		n = &userName{name: strconv.Itoa(uid)}
		u.names[uid] = n
	}
	if n.answer == nil && (n.at.IsZero() || time.Since(n.at) > userAgain) {
		n.answer = make(chan string, 1)
		answer, look := n.answer, u.look
		go func() { answer <- look(uid) }()
		if n.at.IsZero() { // the local file answers at once
			select {
			case s := <-answer:
				n.keep(s)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	if n.answer != nil {
		select {
		case s := <-n.answer:
			n.keep(s)
		default:
		}
	}
	return n.name
}

func (n *userName) keep(s string) {
	n.answer, n.at = nil, time.Now()
	if s != "" {
		n.name = clean(s)
	}
}

// lookUser looks into /etc/passwd, and then asks the system's other sources, which a program without C libraries can't.
func lookUser(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	ctx, cancel := context.WithTimeout(context.Background(), userLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "getent", "passwd", strconv.Itoa(uid)).Output()
	if err != nil {
		return ""
	}
	name, _, _ := strings.Cut(string(out), ":")
	return name
}

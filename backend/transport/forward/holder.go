package forward

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"berth/backend/base/plaintext"
	"berth/gpu/procs/listeners"
	"berth/gpu/procs/proc"
)

// holder says who listens on a port of this computer.
func holder(port int) string {
	list, _ := listeners.Read() // what can't be read can't be said
	for _, l := range listeners.On(list, port) {
		if len(l.PIDs) == 0 {
			return "a process that is not visible (" + userName(l.UID) + "'s)"
		}
		pid := l.PIDs[0]
		if pid == os.Getpid() {
			return "this program itself (process " + strconv.Itoa(pid) + ")"
		}
		return fmt.Sprintf("%.80s (process %d)", plaintext.Clean(proc.CommandOf(pid)), pid)
	}
	return "a process that can't be seen from here"
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "another user"
}

// short is a name for what is too long for one.
func short(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}

// replaceAgent says whose agent a message speaks of.
func replaceAgent(message, name string) string {
	return strings.Replace(message, "the agent there", "the agent on "+name, 1)
}

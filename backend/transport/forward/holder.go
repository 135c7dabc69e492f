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
	on := listeners.On(list, port)
	switch {
	case len(on) == 0:
		return "a process that can't be seen from here"
	case len(on[0].PIDs) == 0:
		return "a process that is not visible (" + userName(on[0].UID) + "'s)"
	case on[0].PIDs[0] == os.Getpid():
		return "this program itself (process " + strconv.Itoa(os.Getpid()) + ")"
	}
	return fmt.Sprintf("%.80s (process %d)", plaintext.Clean(proc.CommandOf(on[0].PIDs[0])), on[0].PIDs[0])
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

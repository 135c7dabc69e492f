package part

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/backend/agent/user"
	"berth/backend/api"
	"berth/backend/base/paths"
)

// Options is what one agent is told when it is started.
type Options struct {
	State      string // folder of records, lock and log; on a local file system
	Socket     string // where to listen; its folder must be private to the user
	Home       string // $HOME of everything that is started
	Workdir    string // where commands and terminals begin
	Scratch    string // BERTH_SCRATCH: a folder on a local disk
	Share      string // BERTH_SHARE; empty: there is none
	Instance   string // the instance's name, if it is known
	InstanceID string
	Shell      string // the login shell; empty: the user's
	// AfterReboot is what happens after a reboot, in words, where whoever starts the agent knows.
	AfterReboot string

	// CaptureLimit and FreshWait are the login environment's limits of these names; 0: the usual ones.
	CaptureLimit, FreshWait time.Duration
}

// MaxSocket is the longest path of a unix socket that works everywhere, in bytes; the terminals'
// sockets, which stand beside the agent's, get a suffix.
const MaxSocket = 100 - len(".t12345")

// Defaults completes the options with those of the one agent that a user has on a host.
func (o *Options) Defaults() error {
	if o.State == "" || o.Socket == "" || o.Scratch == "" {
		h, err := paths.Find()
		if err != nil {
			return err
		}
		if o.State == "" {
			o.State = filepath.Join(h.State, "agent")
		}
		if o.Socket == "" {
			o.Socket = filepath.Join(h.Run, "agent.sock")
		}
		if o.Scratch == "" {
			o.Scratch = filepath.Join(h.State, "scratch")
		}
	}
	if o.Home == "" {
		o.Home = user.Home()
	}
	if o.Share != "" {
		if fi, err := os.Stat(o.Share); err != nil || !fi.IsDir() {
			return fmt.Errorf("the share %s is not a folder on this host", o.Share)
		}
	}
	if o.Workdir == "" {
		o.Workdir = o.Home
		if o.Share != "" {
			o.Workdir = o.Share
		}
	}
	return o.Check()
}

// Check completes and checks the options of another agent.
func (o *Options) Check() error {
	for name, p := range map[string]*string{"state": &o.State, "socket": &o.Socket, "home": &o.Home,
		"workdir": &o.Workdir, "scratch": &o.Scratch} {
		if !filepath.IsAbs(*p) {
			return fmt.Errorf("--%s %q: an absolute path is needed", name, *p)
		}
		*p = filepath.Clean(*p)
	}
	if len(o.Socket) > MaxSocket {
		return fmt.Errorf("the socket's path %s has %d bytes; the system takes %d: "+
			"set BERTH_HOME to a shorter path, or give --socket", o.Socket, len(o.Socket), MaxSocket)
	}
	for name, v := range map[string]string{"instance": o.Instance, "instance-id": o.InstanceID} {
		if strings.ContainsAny(v, "\x00\n") || len(v) > 200 {
			return fmt.Errorf("--%s %.40q: a short name on one line is needed", name, v)
		}
	}
	return nil
}

// Flags registers the options' flags.
func (o *Options) Flags(fs *flag.FlagSet) {
	fs.StringVar(&o.State, "state", "", "folder of the agent's records")
	fs.StringVar(&o.Socket, "socket", "", "unix socket to listen on")
	fs.StringVar(&o.Home, "home", "", "home folder of what is started")
	fs.StringVar(&o.Workdir, "workdir", "", "working directory")
	fs.StringVar(&o.Scratch, "scratch", "", "folder on a local disk for temporary data")
	fs.StringVar(&o.Share, "share", "", "folder of the file share")
	fs.StringVar(&o.Instance, "instance", "", "the instance's name")
	fs.StringVar(&o.InstanceID, "instance-id", "", "the instance's id")
	fs.StringVar(&o.Shell, "shell", "", "login shell")
	fs.StringVar(&o.AfterReboot, "after-reboot", "", "what happens after a reboot, in words")
}

// Args are the flags that give another agent the same options.
func (o Options) Args() []string {
	var out []string
	for _, f := range []struct{ name, value string }{{"state", o.State}, {"socket", o.Socket}, {"home", o.Home},
		{"workdir", o.Workdir}, {"scratch", o.Scratch}, {"share", o.Share}, {"instance", o.Instance},
		{"instance-id", o.InstanceID}, {"shell", o.Shell}, {"after-reboot", o.AfterReboot}} {
		if f.value != "" {
			out = append(out, "--"+f.name+"="+f.value)
		}
	}
	return out
}

// SpareDir is a folder in the host's memory for what must not need a disk; "" where there is none. It is short, for
// sockets, and is not made.
func (o Options) SpareDir() string {
	base := paths.Memory()
	if base == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(o.State))
	return filepath.Join(base, "a-"+hex.EncodeToString(sum[:6]))
}

// LockPath is the file whose lock the agent in charge holds.
func (o Options) LockPath() string { return filepath.Join(o.State, "agent.lock") }

// StartLockPath is the file whose lock is held by who starts an agent.
func (o Options) StartLockPath() string { return filepath.Join(o.State, "start.lock") }

// RecordPath is the file that says who runs.
func (o Options) RecordPath() string { return filepath.Join(o.State, "agent.json") }

// LogPath is the agent's log.
func (o Options) LogPath() string { return filepath.Join(o.State, "agent.log") }

// BinDir is where content-addressed copies of programs for this agent lie.
func (o Options) BinDir() string { return filepath.Join(filepath.Dir(o.State), "bin") }

// Env is what everything on the instance can know of it.
func (o Options) Env() []string {
	out := []string{"BERTH_SCRATCH=" + o.Scratch}
	if o.Socket != "" {
		out = append(out, api.AgentVariable+"="+o.Socket)
	}
	if o.Instance != "" {
		out = append(out, "BERTH_INSTANCE="+o.Instance)
	}
	if o.InstanceID != "" {
		out = append(out, "BERTH_INSTANCE_ID="+o.InstanceID)
	}
	if o.Share != "" {
		out = append(out, "BERTH_SHARE="+o.Share)
	}
	return out
}

package agent

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

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

	captureLimit, freshWait time.Duration // 0: those of the constants of these names
}

// maxSocket is the longest path of a unix socket that works everywhere, in bytes; the terminals'
// sockets, which stand beside the agent's, get a suffix.
const maxSocket = 100 - len(".t12345")

// defaults are those of the one agent that a user has on a host.
func (o *Options) defaults() error {
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
		o.Home = userHome()
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
	return o.check()
}

func (o *Options) check() error {
	for name, p := range map[string]*string{"state": &o.State, "socket": &o.Socket, "home": &o.Home, "workdir": &o.Workdir, "scratch": &o.Scratch} {
		if !filepath.IsAbs(*p) {
			return fmt.Errorf("--%s %q: an absolute path is needed", name, *p)
		}
		*p = filepath.Clean(*p)
	}
	if len(o.Socket) > maxSocket {
		return fmt.Errorf("the socket's path %s has %d bytes; the system takes %d: set BERTH_HOME to a shorter path, or give --socket", o.Socket, len(o.Socket), maxSocket)
	}
	for name, v := range map[string]string{"instance": o.Instance, "instance-id": o.InstanceID} {
		if strings.ContainsAny(v, "\x00\n") || len(v) > 200 {
			return fmt.Errorf("--%s %.40q: a short name on one line is needed", name, v)
		}
	}
	return nil
}

// flags registers the options' flags.
func (o *Options) flags(fs *flag.FlagSet) {
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
	for _, f := range []struct{ name, value string }{{"state", o.State}, {"socket", o.Socket}, {"home", o.Home}, {"workdir", o.Workdir},
		{"scratch", o.Scratch}, {"share", o.Share}, {"instance", o.Instance}, {"instance-id", o.InstanceID}, {"shell", o.Shell}, {"after-reboot", o.AfterReboot}} {
		if f.value != "" {
			out = append(out, "--"+f.name+"="+f.value)
		}
	}
	return out
}

// parse reads the flags of a subcommand, with what more registers, and completes the options.
func parse(name string, args []string, stderr io.Writer, more func(*flag.FlagSet)) (Options, error) {
	var o Options
	fs := flag.NewFlagSet("agent "+name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	o.flags(fs)
	if more != nil {
		more(fs)
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, api.Errorf(api.CodeUsage, "%w", err)
	}
	if fs.NArg() > 0 {
		return o, api.Errorf(api.CodeUsage, "unexpected argument %q", fs.Arg(0))
	}
	return o, o.defaults()
}

func (o Options) lockPath() string      { return filepath.Join(o.State, "agent.lock") }
func (o Options) startLockPath() string { return filepath.Join(o.State, "start.lock") }
func (o Options) recordPath() string    { return filepath.Join(o.State, "agent.json") }
func (o Options) logPath() string       { return filepath.Join(o.State, "agent.log") }
func (o Options) terminalsDir() string  { return filepath.Join(o.State, "terminals") }

// terminalSocket is the socket of a terminal's shim: short, and beside the agent's.
func (o Options) terminalSocket(id string) string {
	return strings.TrimSuffix(o.Socket, ".sock") + ".t" + id
}

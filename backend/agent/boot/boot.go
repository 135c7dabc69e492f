package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"berth/backend/agent/part"
	"berth/backend/agent/user"
	"berth/backend/base/atomicfile"
	"berth/backend/base/paths"
)

// Record is boot.json.
type Record struct {
	Method string `json:"method"` // systemd, cron, none
	Text   string `json:"text"`   // for people
	// Made are folders that were made for the unit, innermost first.
	Made []string `json:"made,omitempty"`
}

const (
	bootSystemd = "systemd"
	bootCron    = "cron"
	bootNone    = "none"
	unitName    = "berth-agent.service"
	cronMark    = "# berth agent: starts it after a reboot; removed by `berth agent uninstall`"
	toolLimit   = 10 * time.Second // for systemctl, loginctl, crontab
)

// path is where the record lies.
func path(o part.Options) string { return filepath.Join(o.State, "boot.json") }

// AfterReboot says how this agent comes back, as far as it was arranged.
func AfterReboot(o part.Options) string {
	if o.AfterReboot != "" {
		return o.AfterReboot
	}
	var r Record
	if err := atomicfile.Read(path(o), &r); err != nil {
		why := OwnFolders(o)
		if why == "" {
			return "not arranged yet; Berth starts the agent when it connects"
		}
		return "nothing starts the agent after a reboot, until Berth connects again: " + why
	}
	return r.Text
}

// Arrange arranges that exe is started as agent after a reboot, and notes what came of it. It
// changes nothing that is as it should be.
func Arrange(ctx context.Context, o part.Options, exe string) (Record, error) {
	argv := part.Command(exe, append([]string{"start", "--no-boot"}, o.Args()...)...)
	rec, why := Record{Method: bootNone}, []string{}
	var old Record
	known := atomicfile.Read(path(o), &old) == nil
	made := old.Made
	if file, err := unitPath(); err == nil && len(made) == 0 {
		made = paths.MissingAbove(wants(file))
	}
	unit, uerr := installUnit(ctx, argv)
	if uerr != nil {
		why = append(why, "systemd: "+uerr.Error())
	} else if linger, lerr := lingers(ctx); linger {
		rec = Record{Method: bootSystemd, Text: "the systemd user unit " + unitName + " starts the agent at boot"}
	} else {
		why = append(why, "systemd: lingering is off, so your services wait for your login ("+lerr.Error()+")")
	}
	if rec.Method == bootNone {
		if err := installCron(ctx, o, argv); err != nil {
			why = append(why, "cron: "+err.Error())
		} else {
			rec = Record{Method: bootCron, Text: "an @reboot line in your crontab starts the agent at boot"}
			_ = removeUnit(ctx, o)
		}
	} else {
		_ = removeCron(ctx, o) // of an earlier start, before there was lingering
	}
	switch {
	case rec.Method != bootNone:
	case unit:
		rec = Record{Method: bootSystemd, Text: "after a reboot the agent comes back at your next login, not before: " +
			strings.Join(why, "; ") + ". An administrator can change that: loginctl enable-linger " + user.Name()}
	default:
		rec.Text = "nothing starts the agent after a reboot, until Berth connects again: " + strings.Join(why, "; ") +
			". An administrator can change that: with a cron daemon that runs, " +
			"or with systemd and loginctl enable-linger " + user.Name()
	}
	for _, d := range made {
		if unit && paths.Exists(d) {
			rec.Made = append(rec.Made, d)
		}
	}
	if known && reflect.DeepEqual(old, rec) {
		return rec, nil
	}
	return rec, atomicfile.Write(path(o), rec)
}

// tool runs a program of the system for at most toolLimit and returns its output.
func tool(ctx context.Context, stdin []byte, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, toolLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0")
	if os.Getenv("XDG_RUNTIME_DIR") == "" {
		// An exec over SSH may come without it where PAM is off.
		cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR=/run/user/"+strconv.Itoa(os.Getuid()))
	}
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err == nil {
		return stdout.String(), nil
	}
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%s is not installed", name)
	}
	said, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
	if len(said) > 200 {
		said = said[:200]
	}
	if said != "" {
		return stdout.String(), fmt.Errorf("%s failed: %q", name, said)
	}
	return stdout.String(), fmt.Errorf("%s failed: %w", name, err)
}

// Remove takes away what Arrange has put on this host for the agent of these options.
func Remove(ctx context.Context, o part.Options) error {
	var rec Record
	known := atomicfile.Read(path(o), &rec) == nil
	if _, err := os.Stat(o.State); !known && !errors.Is(err, fs.ErrNotExist) {
		return nil // no unit and no crontab was ever touched; where the folder is gone nobody knows
	}
	err := removeUnit(ctx, o)
	for _, d := range rec.Made {
		_ = os.Remove(d) // stays if there is something in it
	}
	if cerr := removeCron(ctx, o); cerr != nil && rec.Method == bootCron {
		err = errors.Join(err, cerr)
	}
	return err
}

// OwnFolders says why an agent is not the one that the user has on this host, but one with folders of
// its own, which keeps out of the user's crontab and units unless asked; "" for the user's one.
func OwnFolders(o part.Options) string {
	if h := os.Getenv("BERTH_HOME"); h != "" {
		return "its home (BERTH_HOME=" + h + ") is not the user's own"
	}
	if f := user.Fields(); len(f) >= 6 && filepath.Clean(f[5]) != o.Home {
		return "its home (HOME=" + o.Home + ") is not the user's own, which is " + f[5]
	}
	var usual part.Options
	if usual.Defaults() != nil || usual.State != o.State || usual.Socket != o.Socket {
		return "its folder (" + o.State + ") is not the usual one"
	}
	return ""
}

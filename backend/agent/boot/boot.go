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
	"slices"
	"strconv"
	"strings"
	"time"

	"mvdan.cc/sh/v3/syntax"

	"berth/backend/agent/part"
	"berth/backend/agent/user"
	"berth/backend/base/atomicfile"
	"berth/gpu/procs/proc"
)

// Record is boot.json.
type Record struct {
	Method string `json:"method"` // systemd, cron, none
	Text   string `json:"text"`   // for people
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
	unit, uerr := installUnit(ctx, argv)
	if uerr != nil {
		why = append(why, "systemd: "+uerr.Error())
	} else if linger, lerr := lingers(ctx); linger {
		rec = Record{bootSystemd, "the systemd user unit " + unitName + " starts the agent at boot"}
	} else {
		why = append(why, "systemd: lingering is off, so your services wait for your login ("+lerr.Error()+")")
	}
	if rec.Method == bootNone {
		if err := installCron(ctx, o, argv); err != nil {
			why = append(why, "cron: "+err.Error())
		} else {
			rec = Record{bootCron, "an @reboot line in your crontab starts the agent at boot"}
			_ = removeUnit(ctx, o)
		}
	} else {
		_ = removeCron(ctx, o) // of an earlier start, before there was lingering
	}
	switch {
	case rec.Method != bootNone:
	case unit:
		rec = Record{bootSystemd, "after a reboot the agent comes back at your next login, not before: " +
			strings.Join(why, "; ") + ". An administrator can change that: loginctl enable-linger " + user.Name()}
	default:
		rec.Text = "nothing starts the agent after a reboot, until Berth connects again: " + strings.Join(why, "; ") +
			". An administrator can change that: with a cron daemon that runs, " +
			"or with systemd and loginctl enable-linger " + user.Name()
	}
	var old Record
	if atomicfile.Read(path(o), &old) == nil && old == rec {
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

// systemdUser says whether the user's own service manager can be reached: nil, or why not.
func systemdUser(ctx context.Context) error {
	_, err := tool(ctx, nil, "systemctl", "--user", "show-environment")
	return err
}

func unitPath() (string, error) {
	dir := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(user.Home(), ".config")
	}
	return filepath.Join(dir, "systemd", "user", unitName), nil
}

func unitWord(w string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`, `$`, `$$`).Replace(w) + `"`
}

// unitText is the unit. The agent detaches itself; KillMode=process leaves it, and the terminals,
// alone whatever becomes of the unit.
func unitText(argv []string) string {
	words := make([]string, len(argv))
	for i, w := range argv {
		words[i] = unitWord(w)
	}
	return "[Unit]\nDescription=Berth's agent\n\n" +
		"[Service]\nType=oneshot\nRemainAfterExit=yes\nKillMode=process\nExecStart=" + strings.Join(words, " ") +
		"\n\n[Install]\nWantedBy=default.target\n"
}

// installUnit writes and enables the unit. installed is true if it will be started with the user's
// services.
func installUnit(ctx context.Context, argv []string) (installed bool, err error) {
	if err := systemdUser(ctx); err != nil {
		return false, err
	}
	file, err := unitPath()
	if err != nil {
		return false, err
	}
	want := unitText(argv)
	if have, err := os.ReadFile(file); err != nil || string(have) != want {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return false, err
		}
		if err := atomicfile.Replace(file, []byte(want), 0o644); err != nil {
			return false, err
		}
		if _, err := tool(ctx, nil, "systemctl", "--user", "daemon-reload"); err != nil {
			return false, err
		}
	}
	if _, err := tool(ctx, nil, "systemctl", "--user", "--quiet", "enable", unitName); err != nil {
		return false, err
	}
	return true, nil
}

// removeUnit removes the unit, if it is this agent's.
func removeUnit(ctx context.Context, o part.Options) error {
	file, err := unitPath()
	if err != nil {
		return err
	}
	have, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !strings.Contains(string(have), unitWord("--state="+o.State)) {
		return nil
	} else if err != nil {
		return err
	}
	_, _ = tool(ctx, nil, "systemctl", "--user", "--quiet", "disable", unitName) // removes the link of WantedBy
	link := filepath.Join(filepath.Dir(file), "default.target.wants", unitName)
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Remove(file); err != nil {
		return err
	}
	_, _ = tool(ctx, nil, "systemctl", "--user", "daemon-reload")
	return nil
}

// lingers asks for lingering, if it is not on, and reports whether it is.
func lingers(ctx context.Context) (bool, error) {
	name := user.Name()
	on := func() (bool, error) {
		out, err := tool(ctx, nil, "loginctl", "show-user", name, "--property=Linger")
		return strings.TrimSpace(out) == "Linger=yes", err
	}
	if yes, err := on(); yes || err != nil && strings.Contains(err.Error(), "not installed") {
		return yes, err
	}
	_, eerr := tool(ctx, nil, "loginctl", "--no-ask-password", "enable-linger")
	yes, err := on()
	if !yes && eerr == nil && err == nil {
		err = errors.New("it could not be switched on")
	}
	return yes, errors.Join(eerr, err)
}

// cronLine is the line for the crontab. In a crontab % means a new line unless it is escaped.
func cronLine(argv []string) (string, error) {
	words := make([]string, len(argv))
	for i, w := range argv {
		q, err := cronWord(w)
		if err != nil {
			return "", err
		}
		words[i] = q
	}
	return "@reboot " + strings.Join(words, " ") + " >/dev/null 2>&1", nil
}

func cronWord(w string) (string, error) {
	q, err := syntax.Quote(w, syntax.LangPOSIX)
	if err != nil || strings.ContainsAny(w, "\n\r") {
		return "", fmt.Errorf("%q can't stand in a crontab", w)
	}
	return strings.ReplaceAll(q, "%", `\%`), nil
}

// crontab returns the user's crontab; one that does not exist is empty.
func crontab(ctx context.Context) (string, error) {
	out, err := tool(ctx, nil, "crontab", "-l")
	if err != nil && strings.Contains(err.Error(), "no crontab for") {
		return "", nil
	}
	return out, err
}

// withoutOurs is a crontab without the lines that this package put there with one of some arguments, by which
// an agent is known; all others stay as they are, and with them those of the user's other agents.
func withoutOurs(tab string, args ...string) string {
	var words []string
	for _, a := range args {
		if w, err := cronWord(a); err == nil { // else it can't have got in
			words = append(words, " "+w+" ")
		}
	}
	var out strings.Builder
	lines := slices.Collect(strings.Lines(tab))
	for i := 0; i < len(lines); i++ {
		if strings.TrimRight(lines[i], "\n") == cronMark {
			next := ""
			if i+1 < len(lines) {
				next = lines[i+1]
			}
			if !strings.HasPrefix(next, "@reboot ") {
				continue // somebody took our line away
			}
			if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(next, w) }) {
				i++
				continue
			}
		}
		out.WriteString(lines[i])
	}
	return out.String()
}

func installCron(ctx context.Context, o part.Options, argv []string) error {
	line, err := cronLine(argv)
	if err != nil {
		return err
	}
	tab, err := crontab(ctx)
	if err != nil {
		return err
	}
	// One socket has one agent: a line for it with another state folder came with a copied disk.
	want := withoutOurs(tab, "--state="+o.State, "--socket="+o.Socket)
	if want != "" && !strings.HasSuffix(want, "\n") {
		want += "\n"
	}
	want += cronMark + "\n" + line + "\n"
	if want != tab {
		if _, err := tool(ctx, []byte(want), "crontab", "-"); err != nil {
			return err
		}
		if tab, err = crontab(ctx); err != nil || !strings.Contains(tab, line+"\n") {
			return errors.Join(errors.New("the crontab did not take the line"), err)
		}
	}
	if !cronRuns() {
		return errors.New("the line stands in your crontab, but no cron daemon runs here that would read it")
	}
	return nil
}

func removeCron(ctx context.Context, o part.Options) error {
	tab, err := crontab(ctx)
	if err != nil {
		return err
	}
	rest := withoutOurs(tab, "--state="+o.State)
	switch {
	case rest == tab:
		return nil
	case strings.TrimSpace(rest) == "":
		_, err = tool(ctx, nil, "crontab", "-r")
	default:
		_, err = tool(ctx, []byte(rest), "crontab", "-")
	}
	return err
}

// cronRuns reports whether a cron daemon runs now; one that does not will hardly do so after a reboot.
func cronRuns() bool {
	for _, p := range []string{"/run/crond.pid", "/var/run/crond.pid", "/run/cron.pid", "/var/run/cron.pid"} {
		b, err := os.ReadFile(p)
		if err != nil {
			continue
		}
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && pid > 0 {
			if _, err := proc.Identify(pid); err == nil {
				return true
			}
		}
	}
	return cronProcess()
}

// Remove takes away what Arrange has put on this host for the agent of these options.
func Remove(ctx context.Context, o part.Options) error {
	var rec Record
	known := atomicfile.Read(path(o), &rec) == nil
	if _, err := os.Stat(o.State); !known && !errors.Is(err, fs.ErrNotExist) {
		return nil // no unit and no crontab was ever touched; where the folder is gone nobody knows
	}
	err := removeUnit(ctx, o)
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

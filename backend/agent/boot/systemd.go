package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/backend/agent/part"
	"berth/backend/agent/user"
	"berth/backend/base/atomicfile"
)

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

// wants is the link that enables the unit.
func wants(file string) string {
	return filepath.Join(filepath.Dir(file), "default.target.wants", unitName)
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
	if err := os.Remove(wants(file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
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

// ServicePrefix begins the names of services that StartService starts.
const ServicePrefix = "berth-agent-"

// StartService starts a command line as a service of the user's service manager, with its output appended to log. An
// error means that there is no such manager, or that it is too old for the properties that are needed, or refuses.
func StartService(ctx context.Context, argv []string, log string) error {
	if err := systemdUser(ctx); err != nil {
		return err
	}
	unit := fmt.Sprintf(ServicePrefix+"%d-%d", os.Getpid(), time.Now().Unix())
	args := append([]string{"--user", "--quiet", "--collect", "--unit=" + unit,
		"--property=Type=exec", "--property=KillMode=process", "--property=Delegate=yes", // for groups of jobs with limits
		"--property=StandardOutput=append:" + log, "--property=StandardError=append:" + log, "--"}, argv...)
	_, err := tool(ctx, nil, "systemd-run", args...)
	return err
}

package ui

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// browseFor is how long a browser's starter may take to say that it can't.
const browseFor = 3 * time.Second

// browser returns what opens a page in the user's browser, or nil where none can be seen: BROWSER, where it names one
// program, else what the desktop has.
func browser(ctx context.Context, getenv func(string) string) func(url string) error {
	program := getenv("BROWSER")
	switch {
	case program != "" && !strings.ContainsAny(program, " %:"):
	case runtime.GOOS == "darwin":
		program = "open"
	case getenv("DISPLAY") != "" || getenv("WAYLAND_DISPLAY") != "":
		program = "xdg-open"
	default:
		return nil
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return nil
	}
	return func(url string) error {
		cmd := exec.Command(path, url)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it outlives the dashboard, and ctrl-C is not for it
		if err := cmd.Start(); err != nil {
			return err
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }() // it may be the browser itself, and end with it
		select {
		case err := <-ended:
			if err != nil {
				return fmt.Errorf("%s: %w", program, err)
			}
		case <-time.After(browseFor):
		case <-ctx.Done():
		}
		return nil
	}
}

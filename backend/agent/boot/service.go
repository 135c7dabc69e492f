package boot

import (
	"context"
	"fmt"
	"os"
	"time"
)

// StartService starts a command line as a service of the user's service manager, with its output appended to log. An
// error means that there is no such manager, or that it is too old for the properties that are needed, or refuses.
func StartService(ctx context.Context, argv []string, log string) error {
	if err := systemdUser(ctx); err != nil {
		return err
	}
	unit := fmt.Sprintf("berth-agent-%d-%d", os.Getpid(), time.Now().Unix())
	args := append([]string{"--user", "--quiet", "--collect", "--unit=" + unit,
		"--property=Type=exec", "--property=KillMode=process",
		"--property=StandardOutput=append:" + log, "--property=StandardError=append:" + log, "--"}, argv...)
	_, err := tool(ctx, nil, "systemd-run", args...)
	return err
}

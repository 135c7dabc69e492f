package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"berth/backend/agent/environ"
)

// Limit is how long one try to tell somebody may take.
const Limit = 30 * time.Second

// command runs a hook's command with the notice in its environment and on its input. Command lines can be seen by all
// users of a host: the shell reads the command from a pipe. What it prints goes nowhere: it may tell of the command.
func command(ctx context.Context, script string, n *Notice, env []string, dir string) error {
	in, err := n.json()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("making a pipe: %w", err)
	}
	defer r.Close()
	_, err = w.WriteString(script + "\n") // no more than a pipe takes at once
	if err := errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("handing the command to the shell: %w", err)
	}
	cmd := exec.CommandContext(limited, "/bin/sh", "/dev/fd/3")
	cmd.Env, cmd.Dir = environ.Merge(env, n.env()...), dir
	cmd.Stdin = bytes.NewReader(in)
	cmd.ExtraFiles = []*os.File{r}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // what it leaves running may hold its input
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return fmt.Errorf("its command took more than %v, and was ended", Limit)
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return fmt.Errorf("its command ended with exit code %d", exit.ExitCode())
	case errors.As(err, &exit):
		return errors.New("its command was ended by a signal")
	case errors.Is(err, exec.ErrWaitDelay), isBrokenPipe(err):
		return nil // it ended well, and did not read its input
	case err != nil:
		return errors.New("its command can't be run by /bin/sh")
	}
	return nil
}

func isBrokenPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }

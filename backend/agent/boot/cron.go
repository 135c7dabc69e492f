package boot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"berth/backend/agent/part"
	"berth/gpu/procs/proc"
)

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

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"berth/backend/api"
	"berth/backend/base/plaintext"
)

// answer returns the function that answers questions on the user's terminal, or nil where there is
// none.
func (a *app) answer() func(context.Context, api.Question) (api.Answer, error) {
	if !terminal(a.err) {
		return nil
	}
	return func(_ context.Context, q api.Question) (api.Answer, error) {
		// The terminal itself: stdin may be a pipe.
		tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		if err != nil {
			return api.Answer{}, err
		}
		defer tty.Close()
		fmt.Fprintf(tty, "\r\x1b[K%s\n", plaintext.Text(q.Title))
		if q.Text != "" {
			fmt.Fprintf(tty, "%s\n", plaintext.Text(q.Text))
		}
		switch q.Kind {
		case "secret":
			fmt.Fprint(tty, "> ")
			b, err := term.ReadPassword(int(tty.Fd()))
			fmt.Fprintln(tty)
			return api.Answer{Value: string(b)}, err
		case "confirm":
			yes, err := yesNo(tty)
			return api.Answer{Value: map[bool]string{true: "yes", false: "no"}[yes]}, err
		}
		fmt.Fprint(tty, "> ")
		line, err := bufio.NewReader(tty).ReadString('\n')
		return api.Answer{Value: strings.TrimSpace(line)}, err
	}
}

// yesNo reads an answer; anything but y or yes is no.
func yesNo(tty *os.File) (bool, error) {
	fmt.Fprint(tty, "[y/N] ")
	line, err := bufio.NewReader(tty).ReadString('\n')
	if err != nil {
		return false, err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}

// confirm asks before something that cannot come back. Without a terminal it refuses, naming the flag
// that answers.
func (a *app) confirm(yes bool, text string) error {
	if yes {
		return nil
	}
	if !terminal(a.in) || !terminal(a.err) {
		return api.Errorf(api.CodeRefused, "%s\nNothing was done: this has to be confirmed, and nobody can be asked here",
			text).WithHint("add --yes")
	}
	fmt.Fprintf(a.err, "%s ", plaintext.Text(text))
	ok, err := yesNo(a.in)
	if err != nil || !ok {
		return api.Errorf(api.CodeRefused, "nothing was done")
	}
	return nil
}

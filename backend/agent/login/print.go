package login

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// printed takes what a shell prints: all from the first mark on, and before that only the end.
type printed struct {
	mark  []byte
	buf   []byte
	begun bool
	found chan struct{} // closed once both marks are there
	done  bool
}

func newPrinted(mark string) *printed {
	return &printed{mark: []byte(mark), found: make(chan struct{})}
}

// Write implements io.Writer.
func (p *printed) Write(b []byte) (int, error) {
	if p.done || len(p.buf) > maxEnv {
		return len(b), nil
	}
	p.buf = append(p.buf, b...)
	if !p.begun {
		if i := bytes.Index(p.buf, markBegin(p.mark)); i >= 0 {
			p.begun, p.buf = true, p.buf[i:]
		} else if keep := 1024; len(p.buf) > 2*keep {
			p.buf = append(p.buf[:0], p.buf[len(p.buf)-keep:]...)
		}
	}
	if p.begun && bytes.Contains(p.buf, markEnd(p.mark)) {
		p.done = true
		close(p.found)
	}
	return len(b), nil
}

// lastWords is the last line that was printed before the first mark, as the end of a sentence.
func (p *printed) lastWords() string {
	if p.begun {
		return ""
	}
	lines := strings.FieldsFunc(string(p.buf), func(r rune) bool { return r == '\n' || r == '\r' })
	for _, l := range slices.Backward(lines) {
		l = strings.TrimSpace(strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return -1
			}
			return r
		}, strings.ToValidUTF8(l, "?")))
		if r := []rune(l); len(r) > 0 {
			return fmt.Sprintf("; it wrote last: %q", string(r[:min(len(r), 100)]))
		}
	}
	return ""
}

func markBegin(mark []byte) []byte { return append(slices.Clone(mark), ':') }
func markEnd(mark []byte) []byte   { return append([]byte{':'}, mark...) }

// parseMarked finds variables between two marks in what a shell printed.
func parseMarked(b []byte, mark string) ([]string, bool) {
	_, b, ok := bytes.Cut(b, markBegin([]byte(mark)))
	if !ok {
		return nil, false
	}
	b, _, ok = bytes.Cut(b, markEnd([]byte(mark)))
	if !ok {
		return nil, false
	}
	body, err := base64.StdEncoding.Strict().DecodeString(string(b))
	if err != nil {
		return nil, false // something else was printed at the same time
	}
	var env []string
	for kv := range strings.SplitSeq(string(body), "\x00") {
		if k, _, ok := strings.Cut(kv, "="); ok && k != "" {
			env = append(env, kv)
		}
	}
	return env, len(env) > 0
}

// PrintEnv is the hidden subcommand that capture lets the shell run. It prints to the terminal of its
// session, where there is one: start-up files may have sent the standard output elsewhere. That takes no
// file, which a full disk would not have, and no inherited descriptor, which some shells close. What is
// printed has no byte that a terminal changes, and is written at once, so that nothing comes between.
func PrintEnv(mark string, w io.Writer) error {
	env := base64.StdEncoding.EncodeToString([]byte(strings.Join(os.Environ(), "\x00")))
	text := "\n" + mark + ":" + env + ":" + mark + "\n"
	// By the system call: os.OpenFile would make it not block, and write it in parts.
	if fd, err := unix.Open("/dev/tty", unix.O_WRONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0); err == nil {
		tty := os.NewFile(uintptr(fd), "/dev/tty")
		defer tty.Close()
		w = tty
	}
	_, err := io.WriteString(w, text)
	return err
}

// shellsOwn are variables that belong to the shell that was asked, its terminal or its prompt.
var shellsOwn = []string{"_", "SHLVL", "PWD", "OLDPWD", "SHELLOPTS", "BASHOPTS", "BASH_EXECUTION_STRING",
	"TERM", "TERMCAP", "COLUMNS", "LINES", "TTY", "GPG_TTY", "BERTH_RESOLVING", "TMUX", "TMUX_PANE", "STY", "ZELLIJ",
	"PS0", "PS1", "PS2", "PS3", "PS4", "PROMPT", "PROMPT2", "PROMPT3", "PROMPT4",
	"RPROMPT", "RPROMPT2", "RPS1", "RPS2", "SPROMPT",
	"PROMPT_COMMAND", "PROMPT_DIRTRIM", "STARSHIP_SHELL", "STARSHIP_SESSION_KEY"}

// own drops from a shell's environment what is no variable of the user: the shell's own ones, exported
// functions, and what names the device that the shell ran on.
func own(env []string, device string) []string {
	return slices.DeleteFunc(env, func(kv string) bool {
		k, v, _ := strings.Cut(kv, "=")
		return slices.Contains(shellsOwn, k) || v == device || strings.HasPrefix(v, "() {") ||
			strings.HasPrefix(k, "BASH_FUNC_") || strings.HasPrefix(k, "P9K_") || strings.HasPrefix(k, "_P9K_")
	})
}

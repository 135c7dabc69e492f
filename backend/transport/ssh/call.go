package ssh

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"berth/backend/api"
	"berth/backend/base/shellquote"
)

const (
	// maxArguments bounds what a command without an agent is given, in bytes.
	maxArguments = 256 << 10
	// maxCommand bounds a command line: Linux takes 128 KiB in one argument. What is longer is sent as input.
	maxCommand = 120 << 10
	// sshFailed is the code of the user's own ssh where it failed itself.
	sshFailed = 255
)

// call is what is run on a host for a client.
type call struct {
	script string // "": the login shell
	mark   string // what it prints before the command begins, with the numbers of the process and the user; "": nothing
	input  string // what it reads before the client's input
	// codeMark is what it prints on stderr where 255 is the command's own code; "": nothing.
	codeMark string
}

// execCall runs a command. Without signals, its code is 128 + the signal's number where one ended it.
func execCall(q *api.ExecRequest, signals bool) call {
	script := execScript(q.Argv, q.Dir, q.Env)
	if q.TTY {
		return call{script: script}
	}
	// What start-up files print is no output of the command. The numbers of the process, which stays the same, and of
	// the user are for signals.
	c := call{mark: newMark()}
	begin := "echo " + c.mark + " $$ $(id -u); "
	if len(shellLine(script)) > maxCommand-1000 {
		// A last line, which is never run, shows that nothing was cut off.
		c.input = script + "\n: " + c.mark
		begin = fmt.Sprintf("s=$(head -c %d) || exit 1; case $s in *%s) ;; *) exit 1;; esac; %s", len(c.input), c.mark, begin)
		script = `eval "$s"`
	}
	if !signals {
		c.codeMark = "\x00" + newMark() + "\n"
		script = reporting(script, c.codeMark)
	}
	c.script = begin + script
	return c
}

// reporting runs a script in a subshell and ends with its code as a shell tells it. The shell outlives the signals that
// clients send to the whole group, and says nothing itself.
func reporting(script, codeMark string) string {
	return "trap : HUP INT QUIT TERM USR1 USR2; exec 3>&2 2>/dev/null; (exec 2>&3 3>&-; " + script + "\n); s=$?; " +
		fmt.Sprintf(`[ $s -ne %d ] || printf '\000%s\n' >&3; exit $s`, sshFailed, strings.Trim(codeMark, "\x00\n"))
}

// execScript is the script that runs argv in dir with env added. It fails with 127 or 126 as a shell
// does, and with 1 where dir can't be entered.
func execScript(argv []string, dir string, env []string) string {
	var b strings.Builder
	if dir != "" {
		fmt.Fprintf(&b, "cd -- %s || exit 1; ", shellquote.Word(dir))
	}
	b.WriteString("exec ")
	// What is no variable is dropped, as the agent does.
	env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return strings.Index(kv, "=") < 1 })
	if len(env) > 0 {
		b.WriteString("env -- ")
		for _, kv := range env {
			b.WriteString(shellquote.Word(kv) + " ")
		}
	}
	if len(env) > 0 && strings.Contains(argv[0], "=") || strings.HasPrefix(argv[0], "-") {
		b.WriteString(`sh -c 'case $1 in -*) exec env -- "$@";; *) exec "$@";; esac' sh `) // it is no variable and no option
	}
	b.WriteString(shellquote.Line(argv...))
	return b.String()
}

// afterInput is a process's input for a client: it waits until begun is closed.
type afterInput struct {
	io.WriteCloser
	begun <-chan struct{}
}

// Write implements io.Writer.
func (a afterInput) Write(p []byte) (int, error) {
	<-a.begun
	return a.WriteCloser.Write(p)
}

// Close implements io.Closer.
func (a afterInput) Close() error {
	<-a.begun
	return a.WriteCloser.Close()
}

// unmarked reads r without a mark in it. Only what may be the beginning of the mark waits for what follows.
type unmarked struct {
	r     io.Reader
	mark  []byte
	held  []byte // read and not yet passed on
	err   error
	found bool
}

// Read implements io.Reader.
func (u *unmarked) Read(p []byte) (int, error) {
	for {
		ready := len(u.held)
		if u.err == nil {
			ready = safe(u.held, u.mark)
		}
		if ready > 0 {
			n := copy(p, u.held[:ready])
			u.held = u.held[n:]
			return n, nil
		}
		if u.err != nil {
			return 0, u.err
		}
		buf := make([]byte, 32<<10)
		n, err := u.r.Read(buf)
		u.held, u.err = append(u.held, buf[:n]...), err
		if before, after, ok := bytes.Cut(u.held, u.mark); ok {
			u.held, u.found = append(before, after...), true
		}
	}
}

// safe is how many bytes of b are no part of a mark, whatever follows.
func safe(b, mark []byte) int {
	for n := min(len(mark)-1, len(b)); n > 0; n-- {
		if bytes.HasSuffix(b, mark[:n]) {
			return len(b) - n
		}
	}
	return len(b)
}

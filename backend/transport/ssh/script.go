package ssh

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

// maxOutput bounds what a script may print, in bytes.
const maxOutput = 1 << 20

// errNoShell means that the server ran something else than what it was asked to.
var errNoShell = errors.New("the server does not run the commands that it is given")

// scriptError is a script that ended with a code other than 0.
type scriptError struct {
	code   int
	output string
	stderr string
}

func (e *scriptError) Error() string {
	said := oneLine(e.stderr)
	if said == "" {
		said = oneLine(e.output)
	}
	if said == "" {
		return fmt.Sprintf("it ended with code %d", e.code)
	}
	return said
}

func newMark() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return "berth-" + hex.EncodeToString(b[:])
}

// script runs a POSIX shell script and returns what it printed. What the login shell's start-up
// files print before and after it is left out. A code other than 0 is a *scriptError.
func (c *Conn) script(ctx context.Context, script string) (string, error) {
	return c.scriptInput(ctx, script, "", nil)
}

// scriptInput is script for one that reads stdin, once it has printed a line with cue.
func (c *Conn) scriptInput(ctx context.Context, script, cue string, stdin io.Reader) (string, error) {
	mark := newMark()
	// The subshell keeps an exit in the script from passing the end mark by.
	p, err := c.tr.start(ctx, shellLine("echo "+mark+"; (\n"+script+"\n)\nprintf '\\n%s %s\\n' "+mark+" $?"),
		sessionOptions{})
	if err != nil {
		return "", err
	}
	defer p.close()
	stop := context.AfterFunc(ctx, p.close)
	defer stop()
	var wg sync.WaitGroup
	var said tail
	wg.Go(func() { _, _ = io.Copy(&said, p.stderr) })
	asked, ended := make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		defer p.stdin.Close()
		if stdin == nil {
			return
		}
		select {
		case <-asked:
			_, _ = io.Copy(p.stdin, stdin) // a script that stops reading says why itself
		case <-ended:
		}
	})
	r := &cued{r: io.LimitReader(p.stdout, maxOutput), cue: []byte(cue + "\n"), asked: asked}
	out, rerr := io.ReadAll(r)
	_, _ = io.Copy(io.Discard, p.stdout)
	close(ended)
	wg.Wait()
	_, werr := p.wait()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	body, code, ok := cutMarks(out, mark)
	switch {
	case ok && code == 0:
		return body, nil
	case ok:
		return body, &scriptError{code, body, said.String()}
	case errors.Is(werr, errLineBroke) && !c.alive():
		return "", werr
	case rerr != nil:
		return "", rerr
	case began(out, mark):
		// A machine that goes down ends what runs on it before it ends the line.
		return "", fmt.Errorf("%w: the session ended before its script did", errLineBroke)
	}
	heard := oneLine(string(out[:min(len(out), 300)]) + " " + said.String())
	heard = strings.ToValidUTF8(heard[:min(len(heard), 300)], "")
	if heard == "" {
		heard = "nothing"
	}
	return "", fmt.Errorf("%w (a forced command, or a login shell that allows none?); it said: %s", errNoShell, heard)
}

// cued is a reader that tells when a line was read that is, or ends with, a cue.
type cued struct {
	r     io.Reader
	cue   []byte
	asked chan struct{} // closed then
	tail  []byte
	told  bool
}

// Read implements io.Reader.
func (c *cued) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if !c.told {
		c.tail = append(c.tail, p[:n]...)
		if c.told = bytes.Contains(c.tail, c.cue); c.told {
			close(c.asked)
		}
		c.tail = c.tail[max(0, len(c.tail)-len(c.cue)):]
	}
	return n, err
}

// began reports that the script was begun: what was read has its first mark.
func began(out []byte, mark string) bool { return bytes.Contains(out, []byte(mark+"\n")) }

// cutMarks returns what stands between the marks, and the code at the second one.
func cutMarks(out []byte, mark string) (body string, code int, ok bool) {
	_, rest, ok := bytes.Cut(out, []byte(mark+"\n"))
	if !ok {
		return "", 0, false
	}
	i := bytes.LastIndex(rest, []byte("\n"+mark+" "))
	if i < 0 {
		return "", 0, false
	}
	end, _, _ := bytes.Cut(rest[i+len(mark)+2:], []byte("\n"))
	code, err := strconv.Atoi(string(bytes.TrimSpace(end)))
	if err != nil {
		return "", 0, false
	}
	return string(rest[:i]), code, true
}

// afterMark returns a reader of what follows the mark's line in r, and what else stood on that line.
// Where the mark does not come within limit bytes or before the end it returns errNoShell, and what was
// read instead.
func afterMark(r io.Reader, mark string, limit int) (rest io.Reader, line string, instead []byte, err error) {
	buf := make([]byte, 0, 4096)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, make([]byte, cap(buf))...)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if _, after, ok := bytes.Cut(buf, []byte(mark)); ok {
			if line, more, ok := bytes.Cut(after, []byte("\n")); ok {
				if len(more) == 0 {
					return r, string(line), nil, nil
				}
				return io.MultiReader(bytes.NewReader(more), r), string(line), nil, nil
			}
		}
		if err != nil || len(buf) > limit {
			return nil, "", buf, errNoShell
		}
	}
}

package ssh

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"berth/backend/base/shellquote"
)

// installScript goes on from lookScript: it puts a program into the folder unless it is there, whole, and starts it.
// All is done in one shell, since a login shell may take seconds to start. %[1]s and %[2]s are the program's hash and
// name, %[3]d its size, %[4]s the name of the copy until it is whole, %[5]s its time, %[6]s what is run then.
//
// Where the program is to be sent on standard input it prints a line with %[4]s. The copy is checked by its hash there
// and then renamed, so that whoever finds the final name finds it whole. Its time is that of the local file: a
// development build counts as built then. What it says of the copy is a line that begins with `copy`: there, failed and
// why, or unhashed and where, on a host without any tool for hashes.
const installScript = `
[ -n "$found" ] || exit 0
undo() { rm -f "$t"; rmdir "${f%%/*}" 2>/dev/null; d=$found; [ -z "$made" ] || rm -f "$s/.made"; drop; }
f="$found"/%[1]s/%[2]s
if [ ! -x "$f" ] || [ "$(wc -c <"$f")" -ne %[3]d ]; then
	t="$found/.%[4]s.tmp"
	find "$found" -maxdepth 1 -name '.berth-*.tmp' -mtime +0 -exec rm -f {} + 2>/dev/null
	if ! e=$(mkdir -p "${f%%/*}" 2>&1); then echo "copy failed $e"; exit 0; fi
	echo %[4]s
	if ! e=$(cat 2>&1 >"$t"); then undo; echo "copy failed" $e; exit 0; fi
	h=$(sha256sum <"$t" 2>/dev/null || shasum -a 256 <"$t" 2>/dev/null || openssl dgst -sha256 -r <"$t" 2>/dev/null || echo none)
	h=${h%%%% *}
	if [ "$h" = none ]; then echo "copy unhashed $t"; exit 0; fi
	if [ "$h" != %[1]s ]; then undo; echo "copy failed it differs from the original (SHA-256 $h)"; exit 0; fi
	if ! e=$({ chmod 700 "$t" && { TZ=UTC0 touch -t %[5]s "$t"; mv -f "$t" "$f"; }; } 2>&1); then undo; echo "copy failed" $e; exit 0; fi
fi
echo "copy there"
%[6]s`

// startScript starts the agent at "$f" with what is said of it. Outside the home the state folder of the home can't be
// used either, or can't be trusted to.
func startScript(b *program, flags []string) string {
	sub := ""
	if b.name == "berth" {
		sub = "agent " // the whole binary takes it first
	}
	return `set -- start --replace ` + shellquote.Line(flags...) + `
case $found in "$s/bin") ;; *) set -- "$@" --boot "--state=${found%/bin}/agent" "--scratch=${found%/bin}/scratch" ;; esac
umask "$mask"
"$f" ` + sub + `"$@" </dev/null 2>&1`
}

// copyError is why a program could not be copied to a host.
type copyError struct{ why string }

func (e *copyError) Error() string { return "copying it there failed: " + e.why }

// install puts a program in place, and starts it by what start says ("": it is not started). out is what that printed.
func (c *Conn) install(ctx context.Context, b *program, start string) (p *placement, l look, out string, err error) {
	for again := true; ; again = false {
		tmp := newMark()
		script := lookScript + fmt.Sprintf(installScript, b.hash, b.name, b.size, tmp, b.built.UTC().Format("200601021504.05"), start)
		said, err := c.scriptFed(ctx, script, tmp, b.path)
		l = parseLook(said)
		if l.dir != "" {
			p = &placement{Program: path.Join(l.dir, b.hash, b.name), Hash: b.hash}
		}
		_, copied, ok := strings.Cut("\n"+said, "\ncopy ")
		if !ok {
			return p, l, "", err
		}
		copied, out, _ = strings.Cut(copied, "\n")
		how, rest, _ := strings.Cut(copied, " ")
		switch {
		case how == "there":
			return p, l, out, err
		case how == "unhashed" && again && err == nil:
			if err := c.settleUnhashed(ctx, rest, p, b); err != nil {
				return p, l, "", err
			}
			continue
		case err == nil:
			err = &copyError{oneLine(rest)}
		}
		return p, l, "", err
	}
}

// settleUnhashed does what installScript does after the copy, on a host that can't hash it: it is read back.
func (c *Conn) settleUnhashed(ctx context.Context, tmp string, p *placement, b *program) error {
	mark := newMark()
	proc, err := c.tr.start(ctx, shellLine("echo "+mark+"; exec cat "+shellquote.Word(tmp)), sessionOptions{})
	if err != nil {
		return err
	}
	defer proc.close()
	stop := context.AfterFunc(ctx, proc.close)
	defer stop()
	_ = proc.stdin.Close()
	go func() { _, _ = io.Copy(io.Discard, proc.stderr) }() // ends with the session
	content, _, _, err := afterMark(proc.stdout, mark, 256<<10)
	if err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, content); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != b.hash {
		_, _ = c.script(ctx, "rm -f "+shellquote.Word(tmp)) // the next copy removes it otherwise
		return &copyError{"it differs from the original (SHA-256 " + sum + ")"}
	}
	_, err = c.script(ctx, fmt.Sprintf("chmod 700 %[1]s && { TZ=UTC0 touch -t %[2]s %[1]s; mv -f %[1]s %[3]s; }",
		shellquote.Word(tmp), b.built.UTC().Format("200601021504.05"), shellquote.Word(p.Program)))
	return err
}

// scriptFed is script for one that reads a file on standard input, once it has printed a line with cue.
func (c *Conn) scriptFed(ctx context.Context, script, cue, file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return c.scriptInput(ctx, script, cue, f)
}

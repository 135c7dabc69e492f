package ssh

import (
	"fmt"
	"strings"
)

// sshd hands a command line to the user's login shell, whatever that is. What we send is understood
// alike by sh, bash, dash, zsh, ksh, fish, csh and tcsh: `exec sh -c '…'`, where no quote, bang,
// newline or backslash stands between the quotes except backslashes before a digit.

// plainBytes may stand between single quotes in every shell.
func plainByte(c byte) bool {
	return c >= 0x20 && c < 0x7f && c != '\'' && c != '!' && c != '\\'
}

// shellLine is the command line that runs a POSIX shell script under any login shell.
func shellLine(script string) string {
	plain := true
	for i := 0; i < len(script); i++ {
		if !plainByte(script[i]) {
			plain = false
			break
		}
	}
	if plain {
		return "exec sh -c '" + script + "'"
	}
	// printf's %b turns \0ooo back into the byte.
	var b strings.Builder
	b.WriteString(`exec sh -c 'eval "$(printf %b "`)
	for i := 0; i < len(script); i++ {
		c := script[i]
		if plainByte(c) && c != '"' && c != '$' && c != '`' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\0%03o`, c)
		}
	}
	b.WriteString(`")"'`)
	return b.String()
}

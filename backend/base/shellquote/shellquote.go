// Package shellquote writes words for a POSIX shell: in lines that people are shown to copy, and in scripts.
//
// mvdan.cc/sh/v3/syntax has such a function. It puts a text with an apostrophe in double quotes, and an interactive
// bash or zsh replaces what follows a ! there; and it refuses a text with a line break. Single quotes keep all of it.
package shellquote

import "strings"

// plain are the characters that no POSIX shell gives a meaning within a word.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@,+%"

// Word returns s as one word for sh, bash, dash, ksh and zsh, also at their prompts. s has no zero byte: no shell and
// no program can take one.
func Word(s string) string {
	// An = is plain but in the first word of a command, and after one at the beginning of a word (zsh).
	if s != "" && s[0] != '=' && strings.Trim(s, plain+"=") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Line returns a command and its arguments as a line of a POSIX shell.
func Line(argv ...string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = Word(a)
	}
	if len(argv) > 0 && words[0] == argv[0] && (strings.Contains(argv[0], "=") || keyword(argv[0])) {
		words[0] = "'" + argv[0] + "'"
	}
	return strings.Join(words, " ")
}

// keyword reports whether a shell takes a plain word for a part of its language where a command stands.
func keyword(s string) bool {
	switch s {
	case "if", "then", "else", "elif", "fi", "do", "done", "case", "esac", "while", "until", "for", "in", "function",
		"select", "time", "coproc", "repeat", "foreach", "end", "nocorrect":
		return true
	}
	return false
}

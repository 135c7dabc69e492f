package again

import (
	"errors"
	"strings"
)

// words splits a line as a shell would that knows quotes only: 'as it is', "with \" and \\", \ before any character.
// Nothing is expanded: a job's arguments are exactly what stands there.
func words(line string) (out []string, err error) {
	var b strings.Builder
	in := false // a word has begun
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case ' ', '\t', '\n':
			if in {
				out = append(out, b.String())
			}
			b.Reset()
			in = false
			continue
		case '\'':
			end := strings.IndexByte(line[i+1:], '\'')
			if end < 0 {
				return nil, errors.New("a ' has no other one behind it")
			}
			b.WriteString(line[i+1 : i+1+end])
			i += 1 + end
		case '"':
			n, err := quoted(line[i+1:], &b)
			if err != nil {
				return nil, err
			}
			i += n
		case '\\':
			if i++; i == len(line) {
				return nil, errors.New(`nothing stands behind the \ at the end`)
			}
			b.WriteByte(line[i])
		default:
			b.WriteByte(c)
		}
		in = true
	}
	if in {
		out = append(out, b.String())
	}
	return out, nil
}

// quoted reads what stands behind a " up to the next one, and returns how long that is with its end.
func quoted(s string, b *strings.Builder) (n int, err error) {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return i + 1, nil
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
		}
		b.WriteByte(s[i])
	}
	return 0, errors.New(`a " has no other one behind it`)
}

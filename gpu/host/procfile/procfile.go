package procfile

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// maxSize is more than any of these files has: what is longer is an error, not a reason to fill the memory.
const maxSize = 16 << 20

// Reader reads whole files. What Read returned is valid until the next Read. The zero Reader is ready; it
// belongs to one goroutine.
type Reader struct{ buf []byte }

// Read returns the content of a file. Errors are *fs.PathError.
func (r *Reader) Read(path string) ([]byte, error) { return r.ReadAtMost(path, 0) }

// ReadAtMost returns the beginning of a file, at least most bytes of it if it has so many; 0: all.
func (r *Reader) ReadAtMost(path string, most int) ([]byte, error) {
	if r.buf == nil {
		r.buf = make([]byte, 8<<10)
	}
	fd, err := retry(func() (int, error) { return syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer syscall.Close(fd)
	n := 0
	for {
		if n == len(r.buf) {
			if n >= maxSize {
				return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("it has more than %d MiB", maxSize>>20)}
			}
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
		k, err := retry(func() (int, error) { return syscall.Read(fd, r.buf[n:]) })
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		n += max(k, 0)
		if k <= 0 || (most > 0 && n >= most) {
			return r.buf[:n], nil
		}
	}
}

// Exists reports whether there is something at path.
func Exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// Unescape undoes what the kernel does in its tables to spaces, tabs, line ends and backslashes ("\040").
func Unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Next cuts the first word off a line; the word is empty at the end.
func Next(line []byte) (word, rest []byte) {
	i := 0
	for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
		i++
	}
	j := i
	for j < len(line) && line[j] != ' ' && line[j] != '\t' && line[j] != '\n' {
		j++
	}
	return line[i:j], line[j:]
}

// Line cuts the first line, without its end, off b.
func Line(b []byte) (line, rest []byte) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// Uint reads a decimal number; ok is false for anything else, also for one that does not fit.
func Uint(b []byte) (v uint64, ok bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	for _, c := range b {
		d := uint64(c - '0')
		if d > 9 || v > (1<<64-1-d)/10 {
			return 0, false
		}
		v = v*10 + d
	}
	return v, true
}

// Keyed reads a file of lines "KEY VALUE …" or "KEY: VALUE kB" and gives each to f, values in kB made bytes.
func Keyed(b []byte, f func(key []byte, v uint64)) {
	for len(b) > 0 {
		var line []byte
		line, b = Line(b)
		key, rest := Next(line)
		val, rest := Next(rest)
		v, ok := Uint(val)
		if !ok {
			continue
		}
		if unit, _ := Next(rest); string(unit) == "kB" {
			if v > 1<<53 {
				continue
			}
			v <<= 10
		}
		f(bytes.TrimSuffix(key, []byte(":")), v)
	}
}

// Package tomltext says where in a TOML file something stands, and what is wrong with it, in the words of a person who
// edits it.
package tomltext

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/pelletier/go-toml/v2"

	"berth/backend/api"
)

// Explain turns an error of the TOML decoder into one that names file, line, column and key.
func Explain(path string, err error) error {
	var missing *toml.StrictMissingError
	if errors.As(err, &missing) && len(missing.Errors) > 0 {
		d := missing.Errors[0]
		row, col := d.Position()
		return api.Errorf(api.CodeUsage, "%s:%d:%d: there is no key %q", path, row, col, strings.Join(d.Key(), ".")).
			WithHint("look for a typing mistake")
	}
	var dec *toml.DecodeError
	if errors.As(err, &dec) {
		row, col := dec.Position()
		return api.Errorf(api.CodeUsage, "%s:%d:%d: %s", path, row, col, plain(dec))
	}
	return api.Errorf(api.CodeUsage, "%s: %w", path, err)
}

// Table is where the n-th (from 0) table of an array stands in a file, as "FILE:LINE"; the file alone where it is
// not written as [[name]].
func Table(path string, text []byte, name string, n int) string {
	line := 0
	for l := range bytes.Lines(text) {
		line++
		head, _, _ := strings.Cut(string(l), "#")
		if strings.Join(strings.Fields(head), "") != "[["+name+"]]" {
			continue
		}
		if n == 0 {
			return path + ":" + strconv.Itoa(line)
		}
		n--
	}
	return path
}

var mismatch = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`cannot decode TOML (\S+) into .* of type (\S+)`)
})

// plain says a decoder's error without the words of Go.
func plain(dec *toml.DecodeError) string {
	text := strings.TrimPrefix(dec.Error(), "toml: ")
	m := mismatch().FindStringSubmatch(text)
	if m == nil {
		if k := strings.Join(dec.Key(), "."); k != "" && !strings.Contains(text, k) {
			return k + ": " + text
		}
		return text
	}
	want := map[string]string{"string": "text in quotes", "bool": "true or false", "*bool": "true or false",
		"[]string": "a list of texts", "config.Duration": "a duration as \"10m\""}[m[2]]
	if want == "" {
		want = m[2]
	}
	return fmt.Sprintf("%s must be %s, not %s", strings.Join(dec.Key(), "."), want, m[1])
}

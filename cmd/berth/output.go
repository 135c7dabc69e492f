package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"

	"berth/backend/api"
	"berth/backend/base/plaintext"
)

// jsonOut returns a writer of whole JSON documents to w that escapes what JSON lets stand and a terminal
// obeys: C1 controls, which begin sequences as ESC does, and what reorders text.
func jsonOut(w io.Writer) io.Writer { return jsonWriter{w} }

type jsonWriter struct{ w io.Writer }

func (j jsonWriter) Write(p []byte) (int, error) {
	odd := func(r rune) bool {
		return r >= 0x7f && r < 0xa0 || r >= 0x200e && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	}
	if bytes.IndexFunc(p, odd) < 0 {
		return j.w.Write(p)
	}
	var b bytes.Buffer
	for _, r := range string(p) {
		if odd(r) { // only strings have such characters
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	_, err := j.w.Write(b.Bytes())
	return len(p), err
}

// table prints rows in aligned columns; the first row is the header.
func table(w io.Writer, rows [][]string) error {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	for _, r := range rows {
		for i := range r {
			r[i] = plaintext.Clean(r[i])
		}
		fmt.Fprintln(tw, strings.Join(r, "\t")) // an empty cell at the end keeps the columns of the others
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// listing is table for rows of which the last cell may be long: on a terminal each stays on its line.
func listing(w io.Writer, rows [][]string) error {
	if !terminal(w) {
		return table(w, rows)
	}
	var b strings.Builder
	if err := table(&b, rows); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, ansi.Truncate(strings.TrimRight(line, "\n"), columns(w), "…")); err != nil {
			return err
		}
	}
	return nil
}

// colour says whether to colour what is written to w: a terminal, without NO_COLOR.
func colour(w any) bool {
	return terminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// columns is how wide the terminal is that w is; 80 where it is none.
func columns(w any) int {
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 20 {
			return n
		}
	}
	return 80
}

// dash is what stands for nothing.
const dash = "-"

func orDash(s string) string {
	if s == "" {
		return dash
	}
	return s
}

// gpusText prints "2 × A100".
func gpusText(gpus []api.GPU) string {
	if len(gpus) == 0 {
		return dash
	}
	same := true
	for _, g := range gpus {
		same = same && g.Name == gpus[0].Name
	}
	if !same {
		names := make([]string, len(gpus))
		for i, g := range gpus {
			names[i] = g.Name
		}
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%d x %s", len(gpus), gpus[0].Name)
}

// ago prints an age: seconds below a minute, then to the minute.
func ago(t *time.Time, now time.Time) string {
	if t == nil || t.IsZero() {
		return dash
	}
	return span(now.Sub(*t))
}

func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// seconds prints how long something took.
func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// Command summary reads `go test -json` from its input, prints what failed and what was skipped, and
// fails on a failure or on a skip that is not expected. With -failed it writes down which tests to run
// once more: where a few failed, and nothing else is wrong. With -root it writes down which ones were
// skipped because they need root, which is no failure then; with -times how long each took.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"sort"
	"strings"
)

// fewFailures is up to how many failing tests are worth a second run: more are no accident.
const fewFailures = 3

type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

func main() {
	expected := flag.String("expected", "", "file of tests that may skip, PACKAGE.TEST a line")
	again := flag.String("failed", "",
		"file that gets the failing tests, PACKAGE TEST a line, if they are few and all that is wrong")
	root := flag.String("root", "", "file that gets the tests that need root, PACKAGE TEST a line")
	times := flag.String("times", "", "file to which SECONDS PACKAGE TEST is added, a test a line")
	flag.Parse()
	allowed := map[string]bool{}
	if b, err := os.ReadFile(*expected); err == nil {
		for _, l := range strings.Split(string(b), "\n") {
			if l, _, _ = strings.Cut(l, "#"); strings.TrimSpace(l) != "" {
				allowed[strings.TrimSpace(l)] = true
			}
		}
	}
	var passed, failed, skipped, bad int
	output := map[string][]string{}
	failures := map[string]map[string]bool{} // by package: the failing tests, without their parts
	var broken, died bool
	forRoot := map[string]bool{}
	var took strings.Builder
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		line := in.Text()
		var e event
		if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e) != nil {
			fmt.Println(line) // of make, vet or the compiler
			if strings.Contains(line, "Error ") && strings.HasPrefix(line, "make") {
				broken = true
			}
			continue
		}
		key := e.Package + "." + e.Test
		top, _, part := strings.Cut(e.Test, "/")
		if (e.Action == "pass" || e.Action == "fail") && !part {
			fmt.Fprintf(&took, "%.1f %s %s\n", e.Elapsed, e.Package, cmp.Or(e.Test, "(all of it)"))
		}
		switch e.Action {
		case "output", "build-output":
			output[key] = append(output[key], e.Output)
			died = died || strings.HasPrefix(e.Output, "panic: ") // with tests that did not get their turn
			if e.Action == "build-output" {
				fmt.Print(e.Output)
			}
		case "pass":
			if e.Test == "" {
				fmt.Printf("ok    %-40s %6.1fs\n", e.Package, e.Elapsed)
			} else {
				passed++
			}
			delete(output, key)
		case "skip":
			if e.Test == "" {
				continue // a package without tests
			}
			skipped++
			mark := "skip "
			switch {
			case allowed[key]:
			case *root != "" && strings.Contains(strings.Join(output[key], ""), "needs root"):
				forRoot[e.Package+" "+top+"\n"] = true
				mark = "later, as root:"
			default:
				bad++
				mark = "SKIP (not expected)"
			}
			fmt.Printf("%s %s: %s\n", mark, key, reason(output[key]))
			delete(output, key)
		case "fail":
			broken = true
			if failures[e.Package] == nil {
				failures[e.Package] = map[string]bool{}
			}
			if e.Test != "" {
				failed++
				failures[e.Package][top] = true
			}
			fmt.Printf("FAIL  %s\n%s", key, strings.Join(output[key], ""))
			delete(output, key)
			if e.Test == "" {
				unended(e.Package, output)
			}
		}
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	if bad > 0 {
		fmt.Printf("%d tests skipped that should run here\n", bad)
	}
	if *root != "" {
		write(*root, strings.Join(slices.Sorted(maps.Keys(forRoot)), ""), os.O_TRUNC)
	}
	if *times != "" {
		write(*times, took.String(), os.O_APPEND)
	}
	if *again != "" && !died && bad == 0 && passed > 0 && in.Err() == nil {
		write(*again, few(failures), os.O_TRUNC)
	}
	if broken || bad > 0 || passed == 0 || in.Err() != nil {
		os.Exit(1)
	}
}

// unended prints what the tests of a failed package said that had begun and did not end: one of them hung, or ended
// the program.
func unended(pkg string, output map[string][]string) {
	for _, key := range slices.Sorted(maps.Keys(output)) {
		if strings.HasPrefix(key, pkg+".") {
			fmt.Printf("NOT ENDED  %s\n%s", key, strings.Join(output[key], ""))
		}
	}
}

func write(file, text string, how int) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|how, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// few lists the failing tests if they are few; nothing where a package failed without a test of its own
// (it did not build).
func few(failures map[string]map[string]bool) string {
	var lines []string
	for pkg, tests := range failures {
		if len(tests) == 0 {
			return ""
		}
		for t := range tests {
			lines = append(lines, pkg+" "+t+"\n")
		}
	}
	if len(lines) > fewFailures {
		return ""
	}
	sort.Strings(lines)
	return strings.Join(lines, "")
}

// reason is the last line that a skipped test printed.
func reason(out []string) string {
	for i := len(out) - 1; i >= 0; i-- {
		s := strings.TrimSpace(out[i])
		if s != "" && !strings.HasPrefix(s, "---") && !strings.HasPrefix(s, "===") {
			return s
		}
	}
	return "no reason given"
}

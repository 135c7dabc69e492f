// Command summary reads `go test -json` from its input, prints what failed and what was skipped, and
// fails on a failure or on a skip that is not expected.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
)

type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

func main() {
	expected := flag.String("expected", "", "file of tests that may skip, PACKAGE.TEST a line")
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
	var broken bool
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
		switch e.Action {
		case "output", "build-output":
			output[key] = append(output[key], e.Output)
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
			if !allowed[key] {
				bad++
				mark = "SKIP (not expected)"
			}
			fmt.Printf("%s %s: %s\n", mark, key, reason(output[key]))
		case "fail":
			broken = true
			if e.Test != "" {
				failed++
			}
			fmt.Printf("FAIL  %s\n%s", key, strings.Join(output[key], ""))
		}
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	if bad > 0 {
		fmt.Printf("%d tests skipped that should run here\n", bad)
	}
	if broken || bad > 0 || passed == 0 || in.Err() != nil {
		os.Exit(1)
	}
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

package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"berth/backend/base/paths"
)

// What an agent leaves on a host, beside its own folder: the program that it was started from, which came over SSH and
// which other hosts (with the same home) and other agents may run from, and folders that were made for it.
//
// Who runs from a program says so by a file beside it. Builds from before that say it in their records alone, which
// are below the same folder where the home is not on a network file system.

// madeFile lists folders that were made for what is in its own folder, one a line.
const madeFile = ".made"

// sharedBin is the folder for programs that a program was copied to by its hash, or "".
func sharedBin(exe string) string {
	if dir := filepath.Dir(filepath.Dir(exe)); paths.ContentHash(exe) != "" && filepath.Base(dir) == "bin" {
		return dir
	}
	return ""
}

// useMark is the name of the file beside a program that says that the agent of these options runs from it.
func useMark(o Options) string {
	sum := sha256.Sum256([]byte(o.State))
	return "used-" + paths.MachineID() + "-" + hex.EncodeToString(sum[:4])
}

// markUse says that the agent of these options runs from this program, where others may do so, too.
func markUse(o Options) error {
	exe, err := os.Executable()
	if err != nil || sharedBin(exe) == "" {
		return err
	}
	mark := filepath.Join(filepath.Dir(exe), useMark(o))
	if _, err := os.Stat(mark); err == nil {
		return nil
	}
	return os.WriteFile(mark, nil, 0o600)
}

// removeShared removes from a folder for programs those that nobody is known to use any more, and what uploads that
// were cut off have left.
func removeShared(ctx context.Context, o Options, bin string) error {
	all, _ := filepath.Glob(filepath.Join(bin, "*", "berth*"))
	network := paths.NetworkFS(bin) != ""
	left := false
	var errs []error
	for _, program := range all {
		if paths.ContentHash(program) == "" {
			left = true
			continue
		}
		marked := os.Remove(filepath.Join(filepath.Dir(program), useMark(o))) == nil
		others, _ := filepath.Glob(filepath.Join(filepath.Dir(program), "used-*"))
		// On a network file system nobody can tell who else runs what no mark was made for.
		if len(others) > 0 || network && !marked || !marked && namedByOthers(bin, program) || inUse(ctx, program) {
			left = true
			continue
		}
		errs = append(errs, os.Remove(program))
		_ = os.Remove(filepath.Dir(program)) // stays if there is more in it
	}
	if broken, _ := filepath.Glob(filepath.Join(bin, ".berth-*.tmp")); !left {
		for _, f := range broken {
			errs = append(errs, os.Remove(f))
		}
	}
	return errors.Join(errs...)
}

// namedByOthers reports whether the records of an agent whose folder is still there name a program.
func namedByOthers(bin, program string) bool {
	records, _ := filepath.Glob(filepath.Join(filepath.Dir(bin), "hosts", "*", "agent", "*.json"))
	return slices.ContainsFunc(records, func(f string) bool {
		b, err := os.ReadFile(f)
		return err == nil && strings.Contains(string(b), program)
	})
}

// makeState makes the agent's folder, and takes note of what was made above it.
func makeState(o Options) error {
	made := paths.MissingAbove(o.State)
	if err := os.MkdirAll(o.State, 0o700); err != nil || len(made) == 0 {
		return err
	}
	return os.WriteFile(filepath.Join(o.State, madeFile), []byte(strings.Join(made, "\n")+"\n"), 0o600)
}

// readMade reads and removes a note of folders that were made.
func readMade(dir string) (made []string) {
	f := filepath.Join(dir, madeFile)
	b, _ := os.ReadFile(f)
	for line := range strings.Lines(string(b)) {
		if d := strings.TrimSpace(line); filepath.IsAbs(d) {
			made = append(made, filepath.Clean(d))
		}
	}
	return made
}

// ours are the names of folders that Berth alone makes, for one host or one home; those of top stand above them.
var (
	ours = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^(hosts|[0-9a-f]{12}|[0-9a-f]{16}|home-[0-9]*)$`)
	})
	// outside is the name of the folder of one home that stands outside it; without a number where the host has no cksum.
	outside = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^home-[0-9]*$`) })
	top     = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^berth(-[0-9]+)?$`) })
)

// prune removes a folder and those above it, as far as they are Berth's own and empty; then those of made, which was
// noted in one of them, that are empty.
func prune(dir string, made []string) {
	for above := true; above && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		name := filepath.Base(dir)
		if above = ours().MatchString(name); !above && !top().MatchString(name) {
			break
		}
		more := readMade(dir)
		if entries, err := os.ReadDir(dir); err == nil && len(entries) == 1 && entries[0].Name() == madeFile {
			_ = os.Remove(filepath.Join(dir, madeFile))
			made = append(made, more...)
		}
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	slices.SortFunc(made, func(a, b string) int { return len(b) - len(a) }) // what is in another is longer
	for _, d := range made {
		_ = os.Remove(d) // stays if there is something in it
	}
}

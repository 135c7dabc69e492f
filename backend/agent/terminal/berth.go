package terminal

import (
	"os"
	"path/filepath"

	"berth/backend/agent/environ"
	"berth/backend/agent/part"
	"berth/backend/base/atomicfile"
	"berth/backend/base/shellquote"
)

// A terminal has a `berth` that submits jobs to its instance, also where nobody has installed Berth there: the agent's
// own program. One that is installed goes before it.

// berthDir is the folder with it.
func berthDir(o part.Options) string { return filepath.Join(o.State, "inside") }

// makeBerth writes the script that is called berth, where it is not there as it is to be.
func makeBerth(h *part.Host) error {
	words := []string{h.Exe} // the whole program has all verbs
	if argv := part.Command(h.Exe, "inside"); len(argv) == 2 {
		words = argv
	}
	script := "#!/bin/sh\nexec " + shellquote.Line(words...) + " \"$@\"\n"
	path := filepath.Join(berthDir(h.Options), "berth")
	if b, err := os.ReadFile(path); err == nil && string(b) == script {
		return nil
	}
	if err := os.MkdirAll(berthDir(h.Options), 0o700); err != nil {
		return err
	}
	return atomicfile.Replace(path, []byte(script), 0o700)
}

// withBerth is an environment in which berth is found. The start-up files of a login bash mostly set PATH anew, but
// leave functions: there it is one.
func withBerth(o part.Options, env []string) []string {
	dir := berthDir(o)
	return environ.Merge(env, "PATH="+environ.Lookup(env, "PATH")+string(filepath.ListSeparator)+dir,
		`BASH_FUNC_berth%%=() {  if type -P berth >/dev/null; then command berth "$@"; else `+
			shellquote.Word(filepath.Join(dir, "berth"))+` "$@"; fi; }`)
}

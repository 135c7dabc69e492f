package probe

import (
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"

	"berth/assets/packed"
	"berth/gpu/probe/embedded"
)

// CommandVariable names the environment variable with the path of a probe, which is then the only one.
const CommandVariable = "BERTH_PROBE"

// Commands are the command lines for Options (as Find, so that nothing is unpacked where there is no driver):
// the small programs that this build carries (unpacked into bin, a folder of this user), one that lies beside
// exe, and last this program itself in that part (self). The error says what can't be used; what can is
// returned with it.
func Commands(self []string, exe, bin string) ([][]string, error) {
	if p := os.Getenv(CommandVariable); p != "" {
		return [][]string{{p}}, nil
	}
	var out [][]string
	programs, err := embedded.Programs()
	if len(programs) > 0 {
		defer debug.FreeOSMemory() // unpacking takes more than all the rest does
	}
	for _, f := range programs {
		path, uerr := packed.Unpack(f, bin, "berth-probe")
		f.Close()
		if uerr != nil {
			err = errors.Join(err, uerr)
			continue
		}
		out = append(out, []string{path})
	}
	beside := filepath.Join(filepath.Dir(exe), "berth-probe")
	if fi, serr := os.Stat(beside); exe != "" && serr == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
		out = append(out, []string{beside})
	}
	if len(self) > 0 {
		out = append(out, self)
	}
	return out, err
}

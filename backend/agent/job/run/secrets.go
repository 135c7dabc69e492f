package run

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"berth/backend/base/atomicfile"
)

// Secrets keeps the values of jobs' secrets, one file (0600) a job, in a folder of the agent until the job is done.
// They stand nowhere else: not in the journal, a log, a command line or an answer.
type Secrets struct{ Dir string }

// file is named by what the job is known by: its UUID, which is the caller's and may have any bytes.
func (s Secrets) file(uuid string) string {
	sum := sha256.Sum256([]byte(uuid))
	return filepath.Join(s.Dir, hex.EncodeToString(sum[:16]))
}

// Keep keeps the values of a job's secrets, by name, durably. Do it before the job is acknowledged.
func (s Secrets) Keep(uuid string, values map[string]string) error {
	if err := CheckSecrets(values); err != nil {
		return err
	}
	if err := makeDir(s.Dir); err != nil {
		return fmt.Errorf("making the folder of the jobs' secrets: %w", err)
	}
	if err := atomicfile.Write(s.file(uuid), bytesOf(values)); err != nil {
		return fmt.Errorf("writing the job's secrets: %w", err)
	}
	return nil
}

// Forget removes a job's secrets; there may be none.
func (s Secrets) Forget(uuid string) error {
	if err := os.Remove(s.file(uuid)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the job's secrets: %w", err)
	}
	return nil
}

// Sweep removes all but those of these jobs: what was kept for a submit that was never acknowledged, say.
func (s Secrets) Sweep(uuids []string) error {
	keep := map[string]bool{}
	for _, u := range uuids {
		keep[s.file(u)] = true
	}
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if p := filepath.Join(s.Dir, e.Name()); !keep[p] {
			errs = append(errs, os.Remove(p))
		}
	}
	return errors.Join(errs...)
}

// env are the variables of a job's secrets, which must be those of its spec.
func (s Secrets) env(uuid string, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	var values map[string][]byte
	if err := atomicfile.Read(s.file(uuid), &values); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &refusal{126, "the values of its secrets are gone: " + strings.Join(names, ", ")}
		}
		return nil, fmt.Errorf("reading the job's secrets: %w", err)
	}
	var out []string
	for _, n := range names {
		v, ok := values[n]
		if !ok {
			return nil, &refusal{126, "the value of its secret " + n + " was not kept"}
		}
		out = append(out, n+"="+string(v))
	}
	return out, nil
}

// bytesOf makes values of any bytes go through JSON.
func bytesOf(values map[string]string) map[string][]byte {
	out := map[string][]byte{}
	for k, v := range values {
		out[k] = []byte(v)
	}
	return out
}

// MaxSecret is how long the value of a secret may be, in bytes: programs are started with no longer variables.
const MaxSecret = 100 << 10

// MaxSecrets is how many secrets a job may have.
const MaxSecrets = 100

// CheckSecrets says what is wrong with secrets, without their values.
func CheckSecrets(values map[string]string) error {
	if len(values) > MaxSecrets {
		return fmt.Errorf("a job has at most %d secrets", MaxSecrets)
	}
	for name, v := range values {
		switch {
		case name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(v, "\x00"):
			return fmt.Errorf("the secret %.60q can't be a variable: neither may have a NUL byte, nor the name a '='", name)
		case len(name)+len(v) > MaxSecret:
			return fmt.Errorf("the secret %.60q has more than %d bytes: have the job read it from a file", name, MaxSecret)
		}
	}
	return nil
}

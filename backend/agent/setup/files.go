package setup

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"berth/backend/agent/root"
	"berth/backend/api"
	"berth/backend/base/atomicfile"
	"berth/gpu/procs/proc"
)

// What lies in the folder of a plan; N is the step's number, K the attempt's:
//
//	plan.json     the plan
//	status.json   record: how far it is
//	N.sh, N.check.sh  the step's script and check
//	N.log         the output of all attempts
//	N.lock        held by the runner
//	N.K.json      what the runner is told
//	N.K.env       the variables of a step that root runs: root.StepEnv
//	N.K.run       who the runner is; its presence says that the attempt has begun
//	N.K.code      how it ended; its blocks are allocated before the step begins
const (
	planFile   = "plan.json"
	statusFile = "status.json"
)

// record is status.json.
type record struct {
	api.SetupStatus
	CreatedAt time.Time `json:"created_at"`
	// Attempts counts, by step, how often it was begun; Resumed is that count at the end before it was last resumed.
	Attempts []int `json:"attempts"`
	Resumed  []int `json:"resumed"`
	// AskedBoot is the boot in which a restart of the machine was asked for; empty: none is awaited.
	AskedBoot string    `json:"asked_boot,omitempty"`
	AskedAt   time.Time `json:"asked_at,omitzero"`
	Cancel    bool      `json:"cancel,omitempty"`
}

// spec is what a runner is told.
type spec struct {
	Boot    string       `json:"boot_id"`
	Argv    []string     `json:"argv"`
	Check   []string     `json:"check,omitempty"`
	Env     []string     `json:"env"`
	Dir     string       `json:"dir"`
	Root    *root.Caller `json:"root,omitempty"` // for a step of root's that this user runs by sudo
	Seconds float64      `json:"seconds"`        // what it may take
	Grace   float64      `json:"grace"`          // seconds between SIGTERM and SIGKILL
}

// started is N.K.run.
type started struct {
	proc.Identity
	At time.Time `json:"at"`
	// Log is how long the step's log was then, in bytes: what follows is of this attempt.
	Log int64 `json:"log,omitempty"`
}

// result is N.K.code. Exactly one of Skipped, Err, Why and (Code, Signal) tells how it ended.
type result struct {
	Code    int       `json:"code"`
	Signal  string    `json:"signal,omitempty"`
	Skipped bool      `json:"skipped,omitempty"` // its check said that there is nothing to do
	Why     string    `json:"why,omitempty"`     // whyLimit or whyEnded
	Err     string    `json:"error,omitempty"`   // it could not be started
	EndedAt time.Time `json:"ended_at"`
	Left    int       `json:"left,omitempty"` // processes that could not be ended
}

const (
	whyLimit = "limit" // it took longer than it may
	whyEnded = "ended" // it was told to end
)

// stepFile is the path of a file of a step; attempt 0 is for those of all attempts.
func stepFile(dir string, step, attempt int, ext string) string {
	return filepath.Join(dir, root.StepFile(step, attempt, ext))
}

// attempts is the number of the last attempt that a runner has begun.
func attempts(dir string, step int) int {
	pattern := stepFile(dir, step, 0, "")
	all, _ := filepath.Glob(pattern + "*.run")
	last := 0
	for _, f := range all {
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(f, pattern), ".run"))
		if err == nil && n > last {
			last = n
		}
	}
	return last
}

// resultSize is how much room a result has, in bytes.
const resultSize = 2048

// reserveResult makes the file of a result with all of its blocks, so that a full disk does not keep the
// end of a step from being written.
func reserveResult(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = f.WriteAt(bytes.Repeat([]byte(" "), resultSize), 0); err == nil {
		err = f.Sync()
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func writeResult(f *os.File, r result) error {
	if len(r.Err) > resultSize/4 {
		r.Err = r.Err[:resultSize/4]
	}
	r.Err = strings.ToValidUTF8(r.Err, "?")
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	return f.Sync()
}

// readResult returns how an attempt ended; ok is false while that is not written.
func readResult(path string) (r result, ok bool) {
	b, err := os.ReadFile(path)
	if err != nil || len(b) > 2*resultSize {
		return r, false
	}
	b = bytes.TrimSpace(b)
	return r, len(b) > 0 && json.Unmarshal(b, &r) == nil
}

// maxPlan bounds a plan on disk, in bytes: as much as package atomicfile reads.
const maxPlan = 1 << 20

// checkPlan says what is wrong with a plan.
func checkPlan(p *api.SetupPlan) error {
	if !plainName(p.ID) {
		return api.Errorf(api.CodeUsage,
			"the set-up's id %.60q is not 1 to 100 letters, digits, '-', '_' or '.', beginning with a letter or digit", p.ID)
	}
	if len(p.Steps) == 0 || len(p.Steps) > 500 {
		return api.Errorf(api.CodeUsage, "the set-up %s has %d steps; 1 to 500 are possible", p.ID, len(p.Steps))
	}
	if strings.IndexByte(p.Prelude, 0) >= 0 {
		return api.Errorf(api.CodeUsage, "the prelude of the set-up %s is no script: there is a zero byte in it", p.ID)
	}
	seen := map[string]bool{}
	for i, s := range p.Steps {
		switch {
		case !plainName(s.Name):
			return api.Errorf(api.CodeUsage,
				"step %d of the set-up %s: the name %.60q is not 1 to 100 letters, digits, '-', '_' or '.'", i+1, p.ID, s.Name)
		case seen[s.Name]:
			return api.Errorf(api.CodeUsage, "the set-up %s has two steps %s", p.ID, s.Name)
		case strings.IndexByte(s.Script, 0) >= 0 || strings.IndexByte(s.Check, 0) >= 0:
			return api.Errorf(api.CodeUsage, "the step %s of the set-up %s is no script: there is a zero byte in it", s.Name,
				p.ID)
		case s.LimitSeconds < 0 || s.LimitSeconds > maxLimit.Seconds():
			return api.Errorf(api.CodeUsage, "the step %s of the set-up %s may take %g s: 0 (%v) to %v are possible", s.Name,
				p.ID, s.LimitSeconds, defaultLimit, maxLimit)
		}
		seen[s.Name] = true
		for _, kv := range s.Env {
			if k, _, ok := strings.Cut(kv, "="); !ok || !root.Variable(k) || strings.IndexByte(kv, 0) >= 0 {
				return api.Errorf(api.CodeUsage, "the step %s of the set-up %s: %.40q is no variable KEY=VALUE", s.Name, p.ID, kv)
			}
		}
	}
	if b, err := json.MarshalIndent(p, "", "  "); err != nil || len(b) >= maxPlan {
		return api.Errorf(api.CodeUsage, "the set-up %s has %d bytes; %d are possible", p.ID, len(b), maxPlan).
			WithHint("let its script fetch what is large")
	}
	return nil
}

func plainName(s string) bool {
	if s == "" || len(s) > 100 {
		return false
	}
	for i, r := range s {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		case i > 0 && (r == '-' || r == '_' || r == '.'):
		default:
			return false
		}
	}
	return true
}

// loadPlan reads what a folder holds. A plan whose status can't be read begins anew; what its runners
// left tells how far it was.
func loadPlan(dir string) (*plan, error) {
	p := &plan{dir: dir, changed: make(chan struct{})}
	if err := atomicfile.Read(filepath.Join(dir, planFile), &p.plan); err != nil {
		return nil, err
	}
	if err := checkPlan(&p.plan); err != nil {
		return nil, err
	}
	err := atomicfile.Read(filepath.Join(dir, statusFile), &p.rec)
	if err != nil || p.rec.ID != p.plan.ID || len(p.rec.Steps) != len(p.plan.Steps) {
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			p.dirty = true
		}
		p.rec = newRecord(&p.plan)
		if fi, err := os.Stat(filepath.Join(dir, planFile)); err == nil {
			p.rec.CreatedAt = fi.ModTime().UTC()
		}
	}
	for len(p.rec.Attempts) < len(p.plan.Steps) {
		p.rec.Attempts = append(p.rec.Attempts, 0)
	}
	for len(p.rec.Resumed) < len(p.plan.Steps) {
		p.rec.Resumed = append(p.rec.Resumed, 0)
	}
	for i := range p.plan.Steps {
		p.rec.Attempts[i] = max(p.rec.Attempts[i], attempts(dir, i))
	}
	p.rec.Revision += 1000 // more than a status that was never written may have had
	return p, nil
}

func newRecord(p *api.SetupPlan) record {
	now := time.Now().UTC()
	r := record{CreatedAt: now, Attempts: make([]int, len(p.Steps)), Resumed: make([]int, len(p.Steps))}
	r.ID, r.State, r.Revision, r.StartedAt = p.ID, api.OpRunning, 1, now
	for _, s := range p.Steps {
		title := s.Title
		if title == "" {
			title = s.Name
		}
		r.Steps = append(r.Steps, api.Step{Name: s.Name, Title: title, State: api.OpPending})
	}
	return r
}

package gpu

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Device is one GPU, as its driver names it.
type Device struct {
	Index       int    `json:"index"`
	UUID        string `json:"uuid"`
	Name        string `json:"name"`
	MemoryBytes int64  `json:"memory_bytes"` // 0 where the driver does not say
	// Unified says that the GPU has no memory of its own, and shares the host's.
	Unified bool `json:"unified_memory,omitempty"`
}

// Why Detect found no GPU, for errors.Is.
var (
	// ErrNoTool means that a driver is loaded but nvidia-smi is not installed.
	ErrNoTool = errors.New("nvidia-smi is not installed, so the GPUs of this host can't be listed")
	// ErrDriver means that the driver's tool failed; its own words stand in the error.
	ErrDriver = errors.New("the NVIDIA driver does not answer")
	// ErrTimeout means that the driver's tool hung, as it does with a GPU that fell off the bus.
	ErrTimeout = errors.New("the NVIDIA driver did not answer in time")
	// ErrAnswer means that the tool's answer could not be read.
	ErrAnswer = errors.New("the answer of nvidia-smi can't be read")
)

const (
	driverDir   = "/proc/driver/nvidia/gpus"
	detectLimit = 15 * time.Second // a driver without persistence mode takes seconds for its first call
	maxDevices  = 1024
)

// Present reports, at no cost, whether an NVIDIA driver may know a GPU on this host.
func Present() bool {
	if e, err := os.ReadDir(driverDir); err == nil {
		return len(e) > 0
	}
	// A container, or WSL, shows the devices without the driver's folder.
	for _, p := range []string{"/dev/nvidiactl", "/dev/dxg"} {
		if _, err := os.Stat(p); err == nil {
			return true
		}
	}
	return false
}

// Detect lists the GPUs. A host without any has none and no error.
func Detect(ctx context.Context) ([]Device, error) {
	if !Present() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, detectLimit)
	defer cancel()
	path, err := exec.LookPath("nvidia-smi")
	if err != nil {
		const wsl = "/usr/lib/wsl/lib/nvidia-smi"
		if _, serr := os.Stat(wsl); serr != nil {
			return nil, ErrNoTool
		}
		path = wsl
	}
	cmd := exec.CommandContext(ctx, path, "--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits")
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("%w (%v)", ErrTimeout, detectLimit)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		// The tool says what is wrong on standard output.
		return nil, fmt.Errorf("%w: %w: %.300q", ErrDriver, err, bytes.TrimSpace(append(out, stderr.Bytes()...)))
	}
	return parse(out)
}

// NoMemory reports whether nvidia-smi says of a GPU's memory that there is none to report: the GPU shares the host's.
// Other words in brackets ("[Unknown Error]") are failures.
func NoMemory(value string) bool {
	return value == "N/A" || value == "[N/A]" || value == "[Not Supported]"
}

// parse reads the tool's lines: index, UUID, name, MiB. A value that the tool does not know stands
// in brackets ("[N/A]"). Warnings may stand among the lines.
func parse(b []byte) ([]Device, error) {
	var rows []byte
	for line := range bytes.Lines(b) {
		if !bytes.HasPrefix(bytes.TrimSpace(line), []byte("WARNING:")) {
			rows = append(rows, line...)
		}
	}
	r := csv.NewReader(bytes.NewReader(rows))
	r.TrimLeadingSpace = true
	r.FieldsPerRecord = 4
	r.LazyQuotes = true
	records, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if len(records) > maxDevices {
		return nil, fmt.Errorf("%w: it lists %d GPUs", ErrAnswer, len(records))
	}
	out := make([]Device, 0, len(records))
	for _, f := range records {
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		d := Device{UUID: f[1], Name: f[2]}
		if d.Index, err = strconv.Atoi(f[0]); err != nil || d.Index < 0 {
			return nil, fmt.Errorf("%w: index %.40q", ErrAnswer, f[0])
		}
		switch {
		case NoMemory(f[3]):
			d.Unified = true
		case !strings.HasPrefix(f[3], "["):
			mib, err := strconv.ParseInt(f[3], 10, 64)
			if err != nil || mib < 0 || mib > 1<<40 {
				return nil, fmt.Errorf("%w: memory %.40q", ErrAnswer, f[3])
			}
			d.MemoryBytes = mib << 20
		}
		out = append(out, d)
	}
	return out, nil
}

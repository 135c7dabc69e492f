package smi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/gpu"
	"berth/gpu/nvml"
)

// PathVariable names the environment variable with nvidia-smi's path, for tests and odd installations.
const PathVariable = "BERTH_NVIDIA_SMI"

const (
	period     = time.Second      // of the stream, to begin with
	firstLimit = 20 * time.Second // a driver without persistence mode takes long for its first call
	silence    = 10 * time.Second // without a line, and no less than 3 periods: it hangs
	appsPeriod = 10 * time.Second
	nonePause  = 5 * time.Second // on a host without GPUs; less than silence
)

// errNone ends a stream that said that there are no GPUs.
var errNone = errors.New("nvidia-smi finds no GPUs")

// Path finds nvidia-smi.
func Path() (string, error) {
	if p := os.Getenv(PathVariable); p != "" {
		return p, nil
	}
	if p, err := exec.LookPath("nvidia-smi"); err == nil {
		return p, nil
	}
	const wsl = "/usr/lib/wsl/lib/nvidia-smi"
	if _, err := os.Stat(wsl); err == nil {
		return wsl, nil
	}
	return "", gpu.ErrNoTool
}

// source implements gpu.Source.
type source struct {
	path    string
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	mu      sync.Mutex
	last    round
	at      time.Time // when last was complete; monotonic
	err     error     // why the stream ended
	apps    []gpu.GPUProcess
	changed chan struct{} // closed when any of these changes
	period  time.Duration
	restart context.CancelFunc // ends the stream that runs, so that one with another period begins
}

// round is one line of each GPU.
type round struct {
	gpus   []gpu.GPU
	driver string
}

// Open starts the stream. It ends with Close.
func Open() (gpu.Source, error) {
	path, err := Path()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &source{path: path, cancel: cancel, changed: make(chan struct{}), period: period}
	s.wg.Go(func() { s.run(ctx) })
	s.wg.Go(func() { s.watchApps(ctx) })
	if _, err := s.Read(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Name is "nvidia-smi".
func (s *source) Name() string { return "nvidia-smi" }

// Read returns the newest line of each GPU; the first time it waits for them.
func (s *source) Read(ctx context.Context) (gpu.Reading, error) {
	t := time.NewTimer(firstLimit)
	defer t.Stop()
	for {
		s.mu.Lock()
		last, at, err, apps, changed, limit := s.last, s.at, s.err, s.apps, s.changed, max(silence, 3*s.period)
		s.mu.Unlock()
		switch {
		case err != nil:
			return gpu.Reading{}, err
		case !at.IsZero() && time.Since(at) > limit:
			return gpu.Reading{}, fmt.Errorf("%w: nvidia-smi has said nothing for %v: the driver hangs", gpu.ErrTimeout,
				time.Since(at).Round(time.Second))
		case !at.IsZero():
			r := gpu.Reading{At: at.UTC(), Source: s.Name(), DriverVersion: last.driver, GPUs: last.gpus, Processes: apps}
			if r.GPUs == nil {
				r.GPUs = []gpu.GPU{}
			}
			return r, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return gpu.Reading{}, ctx.Err()
		case <-t.C:
			return gpu.Reading{}, fmt.Errorf("%w: nvidia-smi said nothing in %v", gpu.ErrTimeout, firstLimit)
		}
	}
}

// Every makes nvidia-smi print about as often as it is read: it works each time.
func (s *source) Every(d time.Duration) {
	d = min(max(d, period), time.Hour).Round(time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	if d == s.period {
		return
	}
	s.period = d
	if s.restart != nil {
		s.restart()
	}
}

// Close ends nvidia-smi.
func (s *source) Close() error {
	s.cancel()
	s.wg.Wait()
	return nil
}

func (s *source) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.changed)
	s.changed = make(chan struct{})
}

// run keeps the stream up, asking for fewer columns as long as this nvidia-smi refuses one.
func (s *source) run(ctx context.Context) {
	cols := columns
	for ctx.Err() == nil {
		streaming, stop := context.WithCancel(ctx)
		s.mu.Lock()
		s.restart = stop
		every := s.period
		s.mu.Unlock()
		refused, err := s.stream(streaming, cols, every)
		stopped := streaming.Err() != nil
		stop()
		if ctx.Err() != nil {
			return
		}
		if stopped {
			continue
		}
		if refused != "" {
			fewer := make([]column, 0, len(cols))
			for i, c := range cols {
				if c.field != refused || i < 4 {
					fewer = append(fewer, c)
				}
			}
			if len(fewer) < len(cols) {
				cols = fewer
				continue
			}
		}
		if errors.Is(err, errNone) {
			// It ends where there are no GPUs; ask again, there may be some later.
			select {
			case <-ctx.Done():
			case <-time.After(nonePause):
			}
			continue
		}
		s.set(func() { s.err = err })
		return // whoever owns the source opens another
	}
}

// stream runs nvidia-smi until it ends. refused is a column that it does not know.
func (s *source) stream(ctx context.Context, cols []column, every time.Duration) (refused string, err error) {
	names := make([]string, len(cols))
	for i, c := range cols {
		names[i] = c.field
	}
	cmd := command(ctx, s.path, "--query-gpu="+strings.Join(names, ","), "--format=csv,noheader,nounits", "-lms",
		strconv.Itoa(int(every.Milliseconds())))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", fmt.Errorf("starting nvidia-smi: %w", err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("starting %s: %w", s.path, err)
	}
	var b builder
	var said error
	lines := bufio.NewScanner(out)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if f := unknownField(line); f != "" {
			refused = f
			continue
		}
		if strings.HasPrefix(line, "No devices were found") {
			b = builder{}
			s.set(func() { s.last, s.at = round{}, time.Now() })
			said = errNone
			continue
		}
		if err := complaint(line); err != nil {
			said = err
			continue
		}
		if r, complete := b.add(line, cols); complete {
			s.set(func() { s.last, s.at = r, time.Now() })
		}
	}
	if lines.Err() != nil {
		_ = cmd.Process.Kill() // a line without an end is not nvidia-smi's
	}
	werr := cmd.Wait()
	switch {
	case refused != "":
		return refused, nil
	case said != nil:
		return "", said
	case lines.Err() != nil:
		return "", fmt.Errorf("%w: %w", gpu.ErrAnswer, lines.Err())
	case b.bad != nil:
		return "", fmt.Errorf("%w: nvidia-smi ended (%v): %w", gpu.ErrAnswer, werr, b.bad)
	}
	return "", fmt.Errorf("%w: nvidia-smi ended: %v", nvml.ErrDriver, cmd.ProcessState)
}

func command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.WaitDelay = time.Second
	return cmd
}

// builder puts lines together to rounds.
type builder struct {
	now   round
	next  int               // the lowest index that can follow in this round
	known map[int]gpu.GPU   // who each GPU is, for those that are lost
	lost  map[string]string // PCI address → what is said of it
	bad   error             // the last line that could not be read
}

// add takes a line; complete says that it was the last one of a round.
func (b *builder) add(line string, cols []column) (r round, complete bool) {
	if line == "" {
		return round{}, false
	}
	if b.known == nil {
		b.known, b.lost = map[int]gpu.GPU{}, map[string]string{}
	}
	if strings.HasPrefix(line, "Unable to determine the device handle") {
		for _, g := range b.known {
			if g.PCI != "" && strings.Contains(strings.ToLower(line), strings.ToLower(g.PCI)) {
				b.lost[g.PCI] = line
			}
		}
		return round{}, false
	}
	v, err := parseLine(line, cols)
	if err != nil {
		b.bad = err
		return round{}, false
	}
	if v.gpu.Index < b.next { // the round before had fewer lines than GPUs: the next has begun
		r, complete = b.finish(), true
	}
	b.known[v.gpu.Index] = gpu.GPU{Index: v.gpu.Index, UUID: v.gpu.UUID, Name: v.gpu.Name, PCI: v.gpu.PCI}
	delete(b.lost, v.gpu.PCI)
	b.now.gpus, b.now.driver = append(b.now.gpus, v.gpu), v.driver
	b.next = v.gpu.Index + 1
	if len(b.now.gpus) >= v.count && v.count > 0 {
		r, complete = b.finish(), true
	}
	return r, complete
}

// finish ends a round; GPUs that said nothing but were there before are shown with the reason.
func (b *builder) finish() round {
	r := b.now
	there := map[int]bool{}
	for _, g := range r.gpus {
		there[g.Index] = true
	}
	for i := range maxGPUs {
		g, known := b.known[i]
		if !known || there[i] {
			continue
		}
		g.Error = "nvidia-smi says nothing of it any more"
		if why := b.lost[g.PCI]; why != "" {
			g.Error = "nvidia-smi says: " + why
		}
		at := 0
		for at < len(r.gpus) && r.gpus[at].Index < i {
			at++
		}
		r.gpus = append(r.gpus[:at:at], append([]gpu.GPU{g}, r.gpus[at:]...)...)
	}
	b.now, b.next = round{}, 0
	return r
}

// watchApps lists processes now and then: a stream of them says nothing where there are none.
func (s *source) watchApps(ctx context.Context) {
	for {
		s.mu.Lock()
		index := map[string]int{}
		for _, g := range s.last.gpus {
			index[g.UUID] = g.Index
		}
		changed := s.changed
		s.mu.Unlock()
		wait := time.After(appsPeriod)
		if len(index) > 0 {
			if out, err := askApps(ctx, s.path); err == nil {
				list := parseApps(out, index)
				s.mu.Lock()
				s.apps = list
				s.mu.Unlock()
			}
			changed = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-changed: // there are GPUs now, perhaps
		case <-wait:
		}
	}
}

func askApps(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, firstLimit)
	defer cancel()
	var out bytes.Buffer
	cmd := command(ctx, path, "--query-compute-apps=gpu_uuid,pid,used_memory", "--format=csv,noheader,nounits")
	cmd.Stdout = &limited{&out, 1 << 20}
	if err := cmd.Run(); err != nil {
		return "", errors.Join(errors.New("listing the processes on GPUs"), err)
	}
	return out.String(), nil
}

// limited drops what goes beyond a number of bytes.
type limited struct {
	b    *bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.b.Write(p[:n])
	l.left -= n
	return len(p), nil
}

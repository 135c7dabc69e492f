package nvml

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"berth/gpu"
)

// How often what is asked for.
const (
	slowFigures = 5 * time.Second        // fans, ECC, limits, modes, MIG devices
	slowLoop    = 2 * time.Second        // PCIe and NVLink throughput, at most
	slowFirst   = 500 * time.Millisecond // the same, at first
	slowLimit   = 10 * time.Second       // a round of these that takes longer hangs
	linkStates  = 10 * time.Second       // how many NVLinks are up
	lostPause   = 10 * time.Second       // before a lost GPU is asked again
	eventWait   = time.Second            // how long Close may have to wait for the event goroutine
	closeWait   = 3 * time.Second        // for goroutines that hang in the driver
	maxGPUs     = 64
)

// Source reads GPUs through a Library. It implements gpu.Source.
type Source struct {
	lib            Library
	driver, cuda   string
	devices        []*device
	cancel         context.CancelFunc
	wg             sync.WaitGroup
	wake           chan struct{}
	slowStarted    time.Time
	slowRounds     int
	mu             sync.Mutex // of slow
	slow           slow
	now            func() time.Time
	processSamples map[processKey]processSample
}

var _ gpu.Source = (*Source)(nil)

// Open loads the library and begins to watch. The source must be closed.
func Open(lib Library) (*Source, error) {
	var r Return
	var err, first error
	for _, path := range paths() {
		if r, err = lib.Open(path); err == nil {
			break
		}
		if first == nil {
			first = err
		}
	}
	switch {
	case err != nil:
		return nil, noLibrary(first)
	case r != Success:
		return nil, Failure(r, "starting")
	}
	s := &Source{lib: lib, wake: make(chan struct{}, 1), now: time.Now, processSamples: map[processKey]processSample{}}
	s.driver, _ = lib.DriverVersion()
	if v, r := lib.CUDAVersion(); r == Success && v > 0 {
		s.cuda = fmt.Sprintf("%d.%d", v/1000, v%1000/10)
	}
	n, r := lib.Count()
	if r != Success {
		lib.Shutdown()
		return nil, Failure(r, "counting the GPUs")
	}
	for i := range min(n, maxGPUs) {
		d := &device{index: i}
		d.open(lib)
		s.devices = append(s.devices, d)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	if n > 0 {
		s.slow.gpus = make([]slowGPU, len(s.devices))
		s.wg.Go(func() { s.slowLoop(ctx) })
		if set, index := s.watch(); set != nil {
			s.wg.Go(func() { s.events(ctx, set, index) })
		}
	}
	return s, nil
}

// Name is the library's.
func (s *Source) Name() string { return s.lib.Name() }

// Read takes all figures that are quick, and adds those that are not as they were read last.
func (s *Source) Read(ctx context.Context) (gpu.Reading, error) {
	now := s.now()
	out := gpu.Reading{At: now.UTC(), Source: s.Name(), DriverVersion: s.driver, CUDAVersion: s.cuda, GPUs: make([]gpu.GPU,
		0, len(s.devices))}
	var whole Return
	for _, d := range s.devices {
		if err := ctx.Err(); err != nil {
			return gpu.Reading{}, err
		}
		g, processes, r := d.read(s, now)
		if r.whole() {
			whole = r
		}
		out.GPUs = append(out.GPUs, g)
		out.Processes = append(out.Processes, processes...)
	}
	if whole != Success {
		return gpu.Reading{}, Failure(whole, "reading the figures")
	}
	s.forget(out.Processes, now)
	s.addSlow(&out)
	pause := slowLoop
	if s.slowRounds < 2 { // rates need two: be quick about the first
		pause = slowFirst
	}
	if d := now.Sub(s.slowStarted); d >= pause || d < 0 {
		select {
		case s.wake <- struct{}{}:
			s.slowStarted = now
			s.slowRounds++
		default:
		}
	}
	return out, nil
}

// Close ends the goroutines and closes the driver. If one hangs in the driver it stays: only the
// process's end gets rid of it.
func (s *Source) Close() error {
	s.cancel()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	t := time.NewTimer(closeWait)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		return errors.New("closing the NVIDIA driver: a call hangs in it")
	}
	if r := s.lib.Shutdown(); r != Success {
		return Failure(r, "closing")
	}
	return nil
}

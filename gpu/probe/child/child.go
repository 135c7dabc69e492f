package child

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"berth/gpu"
	"berth/gpu/nvml"
)

// SourceVariable names the environment variable that picks a source.
const SourceVariable = "BERTH_GPU_SOURCE"

// ExitFailed is the exit code after a Reading with an Error: another process may do better.
const ExitFailed = 3

// The intervals that a parent may ask for.
const (
	MinInterval     = 100 * time.Millisecond
	MaxInterval     = time.Hour
	defaultInterval = time.Second
	maxCommand      = 4096 // bytes of a line from the parent
)

// Source is one way to ask the driver.
type Source struct {
	Name  string
	Built bool // whether this program has it
	Open  func() (gpu.Source, error)
}

// Pacer is a source that works by itself and has to know how often it is read.
type Pacer interface {
	Every(d time.Duration)
}

// Main runs the process and returns its exit code. args may hold "--once": one reading, and the end.
func Main(args []string, in io.Reader, out, errOut io.Writer, sources ...Source) int {
	once := false
	for _, a := range args {
		if a != "--once" {
			fmt.Fprintf(errOut, "berth: probe: unknown argument %q\nusage: berth-probe [--once]\nPrints what the GPUs show as lines of JSON; lines like \"every 5s\" on standard input set the pace.\n", a)
			return 2
		}
		once = true
	}
	limitMemory()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p := &process{out: json.NewEncoder(out), every: defaultInterval}
	commands := make(chan time.Duration)
	if !once {
		go follow(ctx, in, commands)
	}
	results := make(chan result, 1)
	done := make(chan struct{})
	pace := make(chan time.Duration, 1)
	// The driver is asked in a goroutine of its own: when a call hangs, the end of the input still ends the process.
	wake := make(chan struct{}, 1)
	go func() {
		defer close(done)
		ask(ctx, sources, wake, pace, results)
	}()
	wake <- struct{}{}
	var tick <-chan time.Time
	timer := time.NewTimer(p.every)
	defer timer.Stop()
	for {
		select {
		case every, ok := <-commands:
			if !ok {
				cancel()
				select {
				case <-done:
				case <-time.After(time.Second):
				}
				return 0
			}
			if every != p.every {
				p.every = every
				select {
				case <-pace: // one that it has not looked at yet
				default:
				}
				pace <- every
				select {
				case wake <- struct{}{}: // the new pace begins now
				default:
				}
				timer.Reset(every)
			}
		case r := <-results:
			if err := p.out.Encode(r.reading); err != nil {
				fmt.Fprintf(errOut, "berth: probe: writing: %v\n", err)
				return 1
			}
			if r.reading.Error != "" {
				return ExitFailed
			}
			if once {
				return 0
			}
			if tick == nil {
				timer.Reset(p.every)
				tick = timer.C
			}
		case <-tick:
			timer.Reset(p.every)
			select {
			case wake <- struct{}{}:
			default: // the reading before has not come yet
			}
		}
	}
}

type process struct {
	out   *json.Encoder
	every time.Duration
}

type result struct{ reading gpu.Reading }

// ask opens a source and reads it each time it is woken. It ends after a failure or with ctx.
func ask(ctx context.Context, sources []Source, wake <-chan struct{}, pace <-chan time.Duration,
	results chan<- result) {
	src, err := open(sources)
	if err != nil {
		results <- result{failed("", err)}
		return
	}
	defer src.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case every := <-pace:
			if p, ok := src.(Pacer); ok {
				p.Every(every)
			}
			continue
		case <-wake:
		}
		r, err := src.Read(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			r = failed(src.Name(), err)
		}
		select {
		case results <- result{r}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

func failed(source string, err error) gpu.Reading {
	return gpu.Reading{At: time.Now().UTC(), Source: source, GPUs: []gpu.GPU{}, Error: err.Error()}
}

// open takes the first source that works. One that says what is wrong with the driver has the last word: the
// next would not do better. Only a library that can't be loaded leads on.
func open(sources []Source) (gpu.Source, error) {
	want := os.Getenv(SourceVariable)
	var errs []error
	found := false
	for _, s := range sources {
		if want != "" && s.Name != want {
			continue
		}
		found = true
		if !s.Built {
			if want != "" {
				return nil, fmt.Errorf("%s is %q, and this program was built without it", SourceVariable, want)
			}
			continue
		}
		src, err := s.Open()
		if err == nil {
			return src, nil
		}
		errs = append(errs, err)
		if !errors.Is(err, nvml.ErrNoLibrary) {
			break
		}
	}
	switch {
	case want != "" && !found:
		names := make([]string, len(sources))
		for i, s := range sources {
			names[i] = s.Name
		}
		return nil, fmt.Errorf("%s is %q; it can be %s", SourceVariable, want, strings.Join(names, ", "))
	case len(errs) == 0:
		return nil, errors.New("this program was built without any way to ask the NVIDIA driver")
	}
	// The library's absence explains more than that of a tool which comes with it.
	if last := errs[len(errs)-1]; len(errs) == 1 || !errors.Is(last, gpu.ErrNoTool) {
		return nil, last
	}
	return nil, errs[0]
}

// follow reads the parent's lines until its input ends, which closes the channel.
func follow(ctx context.Context, in io.Reader, commands chan<- time.Duration) {
	defer close(commands)
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 256), maxCommand)
	for lines.Scan() {
		every, err := parseCommand(lines.Text())
		if err != nil {
			continue // a newer parent may know more words
		}
		select {
		case commands <- every:
		case <-ctx.Done():
			return
		}
	}
}

// parseCommand reads "every 1s".
func parseCommand(line string) (time.Duration, error) {
	word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	if word != "every" {
		return 0, fmt.Errorf("unknown command %.40q", word)
	}
	d, err := time.ParseDuration(strings.TrimSpace(rest))
	if err != nil {
		return 0, err
	}
	return min(max(d, MinInterval), MaxInterval), nil
}

package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"berth/gpu"
)

// Options are what a check compares.
type Options struct {
	// Source is what Berth reads with, SMI what it is held against.
	Source, SMI gpu.Source
	// For is how long is measured; 0: 60 s. The load should be steady meanwhile.
	For time.Duration
	// Every is the pause between samples; 0: 1 s.
	Every time.Duration
	Out   io.Writer
}

// ErrDiffers means that some figure is not nvidia-smi's.
var ErrDiffers = errors.New("some figures differ from nvidia-smi's")

// Row is one line of the table.
type Row struct {
	GPU    int // -1: the host
	Figure string
	Ours   string
	Theirs string
	Note   string // the difference, or why it is not compared
	Bad    bool
}

// Run measures, prints the table and fails with ErrDiffers if something is not as it should be.
func Run(ctx context.Context, o Options) error {
	if o.For == 0 {
		o.For = time.Minute
	}
	if o.Every == 0 {
		o.Every = time.Second
	}
	ours, theirs, err := sample(ctx, o)
	if err != nil {
		return err
	}
	rows := Compare(ours, theirs)
	return write(o.Out, o.Source.Name(), len(ours), rows)
}

// sample reads both sides side by side.
func sample(ctx context.Context, o Options) (ours, theirs []gpu.Reading, err error) {
	tick := time.NewTicker(o.Every)
	defer tick.Stop()
	end := time.After(o.For)
	for {
		a, err := o.Source.Read(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("reading with %s: %w", o.Source.Name(), err)
		}
		b, err := o.SMI.Read(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("reading with nvidia-smi: %w", err)
		}
		ours, theirs = append(ours, a), append(theirs, b)
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-end:
			return ours, theirs, nil
		case <-tick.C:
		}
	}
}

// figure is what is compared as a number.
type figure struct {
	name string
	get  func(g gpu.GPU) *float64
	// slack is by how much means may differ, beside share of the value.
	slack, share float64
}

func number(get func(g gpu.GPU) *int64) func(gpu.GPU) *float64 {
	return func(g gpu.GPU) *float64 { return float(get(g)) }
}

func float[T int | int64](v *T) *float64 {
	if v == nil {
		return nil
	}
	f := float64(*v)
	return &f
}

const mib = 1 << 20

// figures are all that nvidia-smi tells too. Those that change have the slack of the promise; a share of
// a small number is less than what a step of its unit makes, so that there is slack beside it.
var figures = []figure{
	{"memory total", number(func(g gpu.GPU) *int64 { return g.MemoryTotal }), mib, 0}, // nvidia-smi cuts to MiB
	{"memory reserved", number(func(g gpu.GPU) *int64 { return g.MemoryReserved }), mib, 0},
	{"memory used", number(func(g gpu.GPU) *int64 { return g.MemoryUsed }), 2 * mib, 0.03},
	{"utilisation %", func(g gpu.GPU) *float64 { return g.Utilization }, 3, 0.03},
	{"memory utilisation %", func(g gpu.GPU) *float64 { return g.MemoryUtilization }, 3, 0.03},
	{"temperature °C", func(g gpu.GPU) *float64 { return g.Temperature }, 1, 0},
	{"memory temperature °C", func(g gpu.GPU) *float64 { return g.MemoryTemperature }, 1, 0},
	{"fan %", func(g gpu.GPU) *float64 { return g.Fan }, 2, 0.03},
	{"power W", func(g gpu.GPU) *float64 { return g.Power }, 1, 0.03},
	{"power limit W", func(g gpu.GPU) *float64 { return g.PowerLimit }, 0.01, 0},
	{"SM clock MHz", func(g gpu.GPU) *float64 { return g.SMClock }, 15, 0.03},
	{"memory clock MHz", func(g gpu.GPU) *float64 { return g.MemoryClock }, 15, 0.03},
	{"max SM clock MHz", func(g gpu.GPU) *float64 { return g.MaxSMClock }, 0, 0},
	{"max memory clock MHz", func(g gpu.GPU) *float64 { return g.MaxMemoryClock }, 0, 0},
	{"encoder %", func(g gpu.GPU) *float64 { return g.Encoder }, 3, 0.03},
	{"decoder %", func(g gpu.GPU) *float64 { return g.Decoder }, 3, 0.03},
	{"PCIe generation", func(g gpu.GPU) *float64 { return float(g.PCIeGeneration) }, 0.5, 0}, // it follows the load
	{"PCIe width", func(g gpu.GPU) *float64 { return float(g.PCIeWidth) }, 0, 0},
	{"ECC corrected", ecc(func(e *gpu.ECC) *int64 { return e.Corrected }), 0, 0},
	{"ECC uncorrected", ecc(func(e *gpu.ECC) *int64 { return e.Uncorrected }), 0, 0},
	{"ECC corrected, ever", ecc(func(e *gpu.ECC) *int64 { return e.AggregateCorrected }), 0, 0},
	{"ECC uncorrected, ever", ecc(func(e *gpu.ECC) *int64 { return e.AggregateUncorrected }), 0, 0},
}

func ecc(get func(*gpu.ECC) *int64) func(gpu.GPU) *float64 {
	return func(g gpu.GPU) *float64 {
		if g.ECC == nil {
			return nil
		}
		return float(get(g.ECC))
	}
}

// words are what must be equal.
var words = []struct {
	name string
	get  func(g gpu.GPU) string
}{
	{"UUID", func(g gpu.GPU) string { return g.UUID }},
	{"name", func(g gpu.GPU) string { return g.Name }},
	{"PCI address", func(g gpu.GPU) string { return strings.ToUpper(g.PCI) }},
	{"compute mode", func(g gpu.GPU) string { return g.ComputeMode }},
	{"persistence mode", func(g gpu.GPU) string { return yesNo(g.Persistence) }},
	{"MIG", func(g gpu.GPU) string { return yesNo(g.MIGEnabled) }},
}

func yesNo(b *bool) string {
	if b == nil {
		return ""
	}
	return strconv.FormatBool(*b)
}

// Compare holds our readings against nvidia-smi's.
func Compare(ours, theirs []gpu.Reading) []Row {
	if len(ours) == 0 || len(theirs) == 0 {
		return []Row{{GPU: -1, Figure: "readings", Ours: strconv.Itoa(len(ours)), Theirs: strconv.Itoa(len(theirs)),
			Note: "nothing to compare", Bad: true}}
	}
	a, b := ours[len(ours)-1], theirs[len(theirs)-1]
	rows := []Row{
		equal(-1, "driver", a.DriverVersion, b.DriverVersion),
		equal(-1, "GPUs", strconv.Itoa(len(a.GPUs)), strconv.Itoa(len(b.GPUs))),
	}
	if len(b.GPUs) == 0 {
		rows = rows[1:] // without a line there is no version
	}
	for _, g := range a.GPUs {
		other, found := find(b, g.Index)
		if !found {
			rows = append(rows, Row{GPU: g.Index, Figure: "GPU", Ours: g.Name, Note: "nvidia-smi does not list it", Bad: true})
			continue
		}
		if g.Error != "" || other.Error != "" {
			rows = append(rows, Row{GPU: g.Index, Figure: "GPU", Ours: g.Error, Theirs: other.Error, Note: "it gives no figures",
				Bad: (g.Error == "") != (other.Error == "")})
			continue
		}
		for _, w := range words {
			rows = append(rows, equal(g.Index, w.name, w.get(g), w.get(other)))
		}
		for _, f := range figures {
			rows = append(rows, f.compare(g.Index, ours, theirs))
		}
		rows = append(rows, processes(g.Index, a, b))
	}
	return rows
}

func find(r gpu.Reading, index int) (gpu.GPU, bool) {
	for _, g := range r.GPUs {
		if g.Index == index {
			return g, true
		}
	}
	return gpu.GPU{}, false
}

func equal(index int, name, a, b string) Row {
	r := Row{GPU: index, Figure: name, Ours: a, Theirs: b}
	switch {
	case a == b:
	case a == "" || b == "":
		r.Note = "only one of them says it"
		r.Bad = a == "" // what nvidia-smi knows we must know
	default:
		r.Note, r.Bad = "differs", true
	}
	return r
}

// compare holds the means over the whole time against each other.
func (f figure) compare(index int, ours, theirs []gpu.Reading) Row {
	a, na := mean(ours, index, f.get)
	b, nb := mean(theirs, index, f.get)
	r := Row{GPU: index, Figure: f.name, Ours: show(a, na), Theirs: show(b, nb)}
	switch {
	case na == 0 && nb == 0:
		r.Note = "not supported"
	case nb == 0:
		r.Note = "nvidia-smi does not say"
	case na == 0:
		r.Note, r.Bad = "only nvidia-smi says it", true
	default:
		d := math.Abs(a - b)
		if d > 0 {
			r.Note = "by " + trim(d)
		}
		r.Bad = d > max(f.slack, f.share*math.Abs(b))
	}
	return r
}

func mean(list []gpu.Reading, index int, get func(gpu.GPU) *float64) (m float64, n int) {
	for _, r := range list {
		if g, ok := find(r, index); ok {
			if v := get(g); v != nil {
				m += *v
				n++
			}
		}
	}
	return m / float64(max(n, 1)), n
}

func show(v float64, n int) string {
	if n == 0 {
		return ""
	}
	return trim(v)
}

func trim(v float64) string { return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 2, 64), ".00") }

// processes compares who computes on a GPU in the end.
func processes(index int, a, b gpu.Reading) Row {
	pids := func(r gpu.Reading) string {
		var list []int
		for _, p := range r.Processes {
			if p.GPU == index && p.Kind == "compute" {
				list = append(list, p.PID)
			}
		}
		sort.Ints(list)
		return strings.Trim(fmt.Sprint(list), "[]")
	}
	r := Row{GPU: index, Figure: "processes", Ours: pids(a), Theirs: pids(b)}
	if r.Ours != r.Theirs {
		r.Note = "differs (nvidia-smi is asked for them every 10 s)"
	}
	return r
}

// write prints the table.
func write(out io.Writer, source string, samples int, rows []Row) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "GPU\tfigure\t%s\tnvidia-smi\t\t\n", source)
	bad := 0
	for _, r := range rows {
		verdict := "ok"
		if r.Bad {
			verdict = "WRONG"
			bad++
		}
		on := strconv.Itoa(r.GPU)
		if r.GPU < 0 {
			on = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", on, r.Figure, dash(r.Ours), dash(r.Theirs), verdict, r.Note)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d figures of %d samples compared, %d wrong\n", len(rows), samples, bad)
	if bad > 0 {
		return ErrDiffers
	}
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

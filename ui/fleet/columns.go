package fleet

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/ui/action"
	"berth/ui/data"
	"berth/ui/draw"
	"berth/ui/jobword"
	"berth/ui/money"
	"berth/ui/text"
)

// column is one column of the table. Rank decides what goes first where the screen is narrow: the
// higher the earlier; those of rank 0 stay.
type column struct {
	name, title string
	min, max    int // width in cells
	rank        int
	whole       bool // rather than cut it, those of a rank from optional on go
	right       bool
	some        bool // it is shown only once a row has something in it
	less        func(a, b *data.Row) int
	live        func(s *data.Store, r *data.Row) float64 // instead of less: a figure to order by, NaN last
	len         func(r *data.Row) int                    // content's width, for columns that fit themselves to it
	cell        func(f *Fleet, l *draw.Line, r *data.Row, w int)
}

func plain(get func(r *data.Row) string) func(*Fleet, *draw.Line, *data.Row, int) {
	return func(f *Fleet, l *draw.Line, r *data.Row, w int) { l.Cell(f.e.Theme.Text, get(r), w, false) }
}

func quiet(get func(f *Fleet, r *data.Row) string, right bool) func(*Fleet, *draw.Line, *data.Row, int) {
	return func(f *Fleet, l *draw.Line, r *data.Row, w int) {
		s := get(f, r)
		st := f.e.Theme.Text
		if s == money.Unknown || s == "" {
			s, st = money.Unknown, f.e.Theme.Dim
		}
		l.Cell(st, s, w, right)
	}
}

func byText(get func(r *data.Row) string) func(a, b *data.Row) int {
	return func(a, b *data.Row) int { return text.Natural(get(a), get(b)) }
}

// byMoney puts what is not known last.
func byMoney(get func(r *data.Row) *float64) func(a, b *data.Row) int {
	return func(a, b *data.Row) int { return data.UnknownLast(get(a), get(b), cmp.Compare) }
}

// byJobs puts those with most that runs, and then those with most that waits, last.
func byJobs(a, b *data.Row) int {
	x, y := jobword.Of(&a.Instance), jobword.Of(&b.Instance)
	return cmp.Or(cmp.Compare(x.Running, y.Running), cmp.Compare(x.Waiting, y.Waiting))
}

// byTime puts the longest ago first and what is not known last.
func byTime(get func(r *data.Row) *time.Time) func(a, b *data.Row) int {
	return func(a, b *data.Row) int { return data.UnknownLast(get(a), get(b), time.Time.Compare) }
}

func name(r *data.Row) string { return r.Name }
func size(r *data.Row) string { return r.Size }
func owner(r *data.Row) string {
	if r.AssignedTo != "" {
		return r.AssignedTo
	}
	return r.Owner
}
func jobs(r *data.Row) string         { return jobword.Counts(jobword.Of(&r.Instance)) }
func address(r *data.Row) string      { return r.Address }
func region(r *data.Row) string       { return r.Region }
func image(r *data.Row) string        { return r.Image }
func observed(r *data.Row) *time.Time { return r.ObservedAt }

// columns are all columns, in their usual order.
var columns = []column{
	{name: "name", title: "NAME", min: 6, max: 40, whole: true, less: byText(name), len: func(r *data.Row) int { return len(r.Name) },
		cell: func(f *Fleet, l *draw.Line, r *data.Row, w int) { l.Cell(f.e.Theme.Bold, f.e.Store.Ref(r), w, false) }},
	{name: "state", title: "STATE", min: 14, max: 18, whole: true, less: func(a, b *data.Row) int {
		return cmp.Compare(slices.Index(api.States, a.State), slices.Index(api.States, b.State))
	}, len: stateWidth, cell: stateCell},
	{name: "backend", title: "BACKEND", min: 7, max: 10, rank: 8, whole: true,
		less: byText(func(r *data.Row) string { return r.Backend }),
		len:  func(r *data.Row) int { return len(r.Backend) }, cell: plain(func(r *data.Row) string { return r.Backend })},
	{name: "size", title: "SIZE", min: 8, max: 20, rank: 6, whole: true, less: byText(size),
		len:  func(r *data.Row) int { return len(r.Size) },
		cell: quiet(func(_ *Fleet, r *data.Row) string { return r.Size }, false)},
	{name: "gpus", title: "GPUS", min: 10, max: 18, rank: 2, live: byFigure(load),
		len: func(r *data.Row) int { return max(len(money.GPUs(r.GPUs)), min(len(r.GPUs), bars)+7) }, cell: gpusCell},
	{name: "gpumem", title: "GPU MEM", min: 11, max: 15, rank: 7, right: true,
		live: byFigure(func(f *data.Figures) float64 { return float64(f.GPUMemory) / float64(f.GPUMemMax) }),
		cell: figureCell(gpuMemory, true)},
	{name: "disk", title: "DISK", min: 7, max: 12, rank: 4, right: true,
		live: byFigure(func(f *data.Figures) float64 { return orNaN(f.DiskPercent) }),
		cell: figureCell(diskFigure, true)},
	{name: "jobs", title: "JOBS", min: 12, max: 18, rank: 6, less: byJobs, len: func(r *data.Row) int { return len(jobs(r)) },
		some: true, cell: quiet(func(_ *Fleet, r *data.Row) string { return jobs(r) }, false)},
	{name: "owner", title: "OWNER", min: 7, max: 18, rank: 10, less: byText(owner),
		len:  func(r *data.Row) int { return len(owner(r)) },
		cell: quiet(func(_ *Fleet, r *data.Row) string { return owner(r) }, false)},
	{name: "price", title: "$/HOUR", min: 7, max: 8, rank: 3, right: true,
		less: byMoney(func(r *data.Row) *float64 { return data.Rate(&r.Instance) }),
		cell: quiet(func(_ *Fleet, r *data.Row) string { return money.Maybe(data.Rate(&r.Instance)) }, true)},
	{name: "today", title: "TODAY", min: 6, max: 8, rank: 9, right: true,
		less: byMoney(func(r *data.Row) *float64 { return r.CostTodayUSD }),
		cell: quiet(func(_ *Fleet, r *data.Row) string { return money.Maybe(r.CostTodayUSD) }, true)},
	{name: "idle", title: "IDLE", min: 5, max: 5, rank: 5, right: true, live: func(s *data.Store, r *data.Row) float64 {
		if at := idleAt(s, r); at != nil {
			return float64(at.UnixMilli())
		}
		return math.NaN()
	},
		cell: quiet(func(f *Fleet, r *data.Row) string {
			if at := idleAt(f.e.Store, r); at != nil {
				return f.e.Age(*at)
			}
			return ""
		}, true)},
	{name: "seen", title: "SEEN", min: 5, max: 5, rank: 11, right: true, less: byTime(observed),
		cell: quiet(func(f *Fleet, r *data.Row) string {
			if r.ObservedAt == nil {
				return ""
			}
			return f.e.Age(*r.ObservedAt)
		}, true)},
	{name: "address", title: "ADDRESS", min: 12, max: 22, rank: 12, less: byText(address),
		len:  func(r *data.Row) int { return len(r.Address) },
		cell: quiet(func(_ *Fleet, r *data.Row) string { return r.Address }, false)},
	{name: "region", title: "REGION", min: 8, max: 14, rank: 13, less: byText(region),
		len:  func(r *data.Row) int { return len(r.Region) },
		cell: quiet(func(_ *Fleet, r *data.Row) string { return r.Region }, false)},
	{name: "cpus", title: "VCPUS", min: 5, max: 5, rank: 14, right: true,
		less: func(a, b *data.Row) int { return cmp.Compare(a.VCPUs, b.VCPUs) },
		cell: quiet(func(_ *Fleet, r *data.Row) string { return number0(r.VCPUs) }, true)},
	{name: "memory", title: "MEMORY", min: 8, max: 8, rank: 15, right: true,
		less: func(a, b *data.Row) int { return cmp.Compare(a.MemoryBytes, b.MemoryBytes) },
		cell: quiet(func(_ *Fleet, r *data.Row) string { return money.Size(r.MemoryBytes) }, true)},
	{name: "image", title: "IMAGE", min: 10, max: 20, rank: 16, less: byText(image),
		len:  func(r *data.Row) int { return len(r.Image) },
		cell: quiet(func(_ *Fleet, r *data.Row) string { return r.Image }, false)},
}

// ColumnNames lists the columns that the configuration may choose.
func ColumnNames() []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = c.name
	}
	return out
}

func columnNamed(s string) *column {
	for i := range columns {
		if strings.EqualFold(columns[i].name, s) {
			return &columns[i]
		}
	}
	return nil
}

func number0(n int) string {
	if n <= 0 {
		return ""
	}
	return itoa(n)
}

// stateWidth is what a state's cell needs, with the time since it began to change.
func stateWidth(r *data.Row) int {
	n := 2 + len(action.Word(r.State))
	if r.State.Changing() {
		n += 4
	}
	return n
}

// stateCell writes glyph, word and, while the state changes, for how long it has.
func stateCell(f *Fleet, l *draw.Line, r *data.Row, w int) {
	t := f.e.Theme
	st := t.State(r.State)
	end := min(l.Col()+w, l.Col()+l.Room())
	l.Glyph(st, t.StateGlyph(r.State)).Space(1)
	ago := ""
	if r.State.Changing() {
		ago = f.e.Elapsed(r.StateSince)
	}
	room := end - l.Col()
	if ago != "" {
		room -= len(ago) + 1
	}
	word := text.Truncate(plaintext.Clean(action.Word(r.State)), room, t.Ellipsis)
	l.Text(st, word)
	if ago != "" {
		l.Space(1).Text(t.Dim, ago)
	}
	l.To(end)
}

// placed is a column with its place on the screen.
type placed struct {
	*column
	x, w int
}

// layout chooses the columns that fit into w cells and gives them their widths.
func (f *Fleet) layout(w int) []placed {
	if f.laidW == w && f.laidWide == f.wideGen {
		return f.laid
	}
	const gap = 2
	cols := slices.DeleteFunc(slices.Clone(f.cols), func(c *column) bool { return c.some && f.wide[c.name] == 0 })
	wants := func(c *column) int {
		if c.len == nil {
			return c.max
		}
		return max(c.min, min(c.max, f.wide[c.name]))
	}
	need := func(each func(*column) int) int {
		n := lead
		for _, c := range cols {
			n += each(c) + gap
		}
		return n - gap
	}
	// leastImportant is the place of the column that goes first, or -1.
	leastImportant := func(from int) int {
		worst := -1
		for i, c := range cols {
			if c.rank >= from && (worst < 0 || c.rank > cols[worst].rank) {
				worst = i
			}
		}
		return worst
	}
	// A name is shown whole, from the width of a usual terminal on: what else there is gives way first.
	least := func(c *column) int {
		if c.name == "name" && w >= usual {
			return wants(c)
		}
		return c.min
	}
	giveWay := func(each func(*column) int, from int) {
		for need(each) > w {
			i := leastImportant(from)
			if i < 0 {
				return
			}
			cols = slices.Delete(cols, i, i+1)
		}
	}
	whole := func(c *column) int {
		if c.whole {
			return wants(c)
		}
		return least(c)
	}
	giveWay(wants, extra) // the extra columns come only where all others have the width that they would like
	giveWay(whole, optional)
	giveWay(least, 1)
	base := least
	if need(whole) <= w {
		base = whole
	}
	spare := w - need(base)
	out := f.laid[:0]
	for _, c := range cols {
		out = append(out, placed{c, 0, base(c)})
	}
	for _, first := range []bool{true, false} { // those that should be whole, then those that would like more
		for rank := range extra + len(columns) { // the most important first
			for i := range out {
				if c := &out[i]; c.rank == rank && c.whole == first {
					more := max(0, min(spare, wants(c.column)-c.w))
					c.w += more
					spare -= more
				}
			}
		}
	}
	x := lead
	for i := range out {
		out[i].x = x
		x += out[i].w + gap
	}
	// What is left goes between the columns, as far as the eye can still follow a row.
	if n := len(out) - 1; n > 0 {
		add := min(spare/n, 3)
		for i := range out {
			out[i].x += i * add
		}
	}
	f.laid, f.laidW, f.laidWide = out, w, f.wideGen
	return out
}

// measure widens the columns to a row's content.
func (f *Fleet) measure(r *data.Row) {
	for i := range f.cols {
		c := f.cols[i]
		if c.len == nil {
			continue
		}
		n := c.len(r)
		if c.name == "name" { // with its backend, where another has it too
			n = max(n, text.Width(plaintext.Clean(f.e.Store.Ref(r))))
		}
		if n > f.wide[c.name] {
			f.wide[c.name] = n
			f.wideGen++
		}
	}
}

// usual is the width of a usual terminal; optional the rank of columns that go before one of the others is cut.
const usual, optional = 80, 7

// extra is the rank from which columns are shown only on wide screens.
const extra = 12

// lead is the width of the place before the first column: for cursor, mark and what wants attention.
const lead = 4

package fleet

import (
	"slices"
	"strings"

	"berth/ui/data"
	"berth/ui/list"
	"berth/ui/text"
)

// compare orders two rows by the sorted column, then by name and id.
func (f *Fleet) compare(a, b *data.Row) int {
	if f.sortCol.less != nil {
		if c := f.sortCol.less(a, b); c != 0 {
			if f.Down {
				return -c
			}
			return c
		}
	}
	return byName(a, b)
}

// byName orders two rows by name and id.
func byName(a, b *data.Row) int {
	if c := text.Natural(a.Name, b.Name); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}

// lay makes the order anew: after another sort, filter or at first. The list keeps the cursor on its row.
func (f *Fleet) lay() {
	f.sortedAt = f.e.Now()
	f.sortCol, f.match = columnNamed(f.Sort), list.Match(f.Words())
	f.rows = f.rows[:0]
	f.e.Store.Each(func(r *data.Row) {
		f.measure(r)
		if f.passes(r) {
			f.rows = append(f.rows, r)
		}
	})
	if f.sortCol.live != nil {
		f.sortLive()
		return
	}
	slices.SortFunc(f.rows, f.compare)
}

// merge takes in what changed: gone rows leave, fresh ones come in at their place.
func (f *Fleet) merge(fresh []*data.Row) {
	if len(fresh) > len(f.rows)/4+16 || f.sortCol.live != nil && len(fresh) > 0 {
		f.Keep(f.lay)
		f.unmark()
		return
	}
	in := make([]*data.Row, 0, len(fresh))
	for _, r := range fresh {
		f.measure(r)
		if !r.Gone && f.passes(r) {
			in = append(in, r)
		}
	}
	slices.SortFunc(in, f.compare)
	f.Keep(func() {
		out := f.spare[:0]
		for _, r := range f.rows {
			if r.Gone {
				continue
			}
			for len(in) > 0 && f.compare(in[0], r) < 0 {
				out = append(out, in[0])
				in = in[1:]
			}
			out = append(out, r)
		}
		out = append(out, in...)
		clear(f.rows) // so that what has gone can be freed
		f.rows, f.spare = out, f.rows
	})
	f.unmark()
}

// unmark takes the marks of what is gone away.
func (f *Fleet) unmark() {
	for id := range f.Marks {
		if f.e.Store.Row(id) == nil {
			delete(f.Marks, id)
		}
	}
}

// find returns where a row stands, or -1.
func (f *Fleet) find(id string) int {
	r := f.e.Store.Row(id)
	if r == nil {
		return -1
	}
	if f.sortCol.live != nil { // figures have changed since the rows were put in order
		return slices.Index(f.rows, r)
	}
	if i, ok := slices.BinarySearchFunc(f.rows, r, f.compare); ok && f.rows[i].ID == id {
		return i
	}
	return -1
}

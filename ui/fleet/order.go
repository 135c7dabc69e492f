package fleet

import (
	"slices"
	"strings"

	"berth/ui/data"
	"berth/ui/text"
)

// compare orders two rows by the sorted column, then by name and id.
func (f *Fleet) compare(a, b *data.Row) int {
	if f.sortCol.less != nil {
		if c := f.sortCol.less(a, b); c != 0 {
			if f.sortDown {
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

// rebuild makes the order anew: after another sort, filter or at first.
func (f *Fleet) rebuild() {
	f.sortedAt = f.e.Now()
	f.keepPlace(func() {
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
	})
}

// merge takes in what changed: gone rows leave, fresh ones come in at their place.
func (f *Fleet) merge(fresh []*data.Row) {
	if len(fresh) > len(f.rows)/4+16 || f.sortCol.live != nil && len(fresh) > 0 {
		f.rebuild()
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
	f.keepPlace(func() {
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
}

// keepPlace runs a change of the order and puts the cursor on its row again, at the same place on the
// screen; where the row is gone, on the one that took its place.
func (f *Fleet) keepPlace(change func()) {
	id := f.cursorID()
	screenAt := f.at - f.top
	change()
	if id != "" {
		if i := f.find(id); i >= 0 {
			f.at = i
		}
	}
	f.at = max(0, min(f.at, len(f.rows)-1))
	f.top = f.at - screenAt
	f.clamp()
	for m := range f.marks {
		if f.e.Store.Row(m) == nil {
			delete(f.marks, m)
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

func (f *Fleet) cursorID() string {
	if f.at >= 0 && f.at < len(f.rows) {
		return f.rows[f.at].ID
	}
	return ""
}

// clamp keeps the cursor in view and the view on the rows.
func (f *Fleet) clamp() {
	n := max(1, f.view)
	f.at = max(0, min(f.at, len(f.rows)-1))
	if f.at < f.top {
		f.top = f.at
	}
	if f.at >= f.top+n {
		f.top = f.at - n + 1
	}
	f.top = max(0, min(f.top, len(f.rows)-n))
}

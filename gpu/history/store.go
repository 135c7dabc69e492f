package history

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"slices"
)

const (
	magic       = "BERTHHIS"
	version     = 1
	headerSize  = 4096
	entrySize   = 256
	entryHeader = 24
	maxEntries  = 256
	maxSubject  = entrySize - entryHeader
	tableHeader = 16
	tableSize   = (tableHeader + maxEntries*entrySize + 4095) / 4096 * 4096
	ringsAt     = headerSize + 2*tableSize
	// chunk is how many rows are read, and indexed by time, together.
	chunk = 256
	noEnd = math.MaxUint64
	noGPU = math.MaxUint16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// entry says that rows from to to (sequence numbers, both included) hold a subject in a slot.
type entry struct {
	kind, slot int
	subject    string
	index      uint16 // of a GPU
	from, to   uint64
	seen       uint64 // sequence number when it was there last; not in the file
}

// store is rows in a file or in memory.
type store struct {
	lay     layout
	rings   []ring
	file    *os.File // nil: memory
	mem     []byte
	seq     uint64
	pos     []int64 // where each ring's next row goes
	times   [][]span
	entries []*entry
	gen     uint64 // of the table in the file
	dirty   bool   // the table has to be written
}

// span is the earliest and latest time in one chunk of rows; empty: first > last.
type span struct{ first, last uint32 }

func place(lay layout, rings []ring) (size int64) {
	size = ringsAt
	for i := range rings {
		rings[i].at = size
		size += rings[i].rows * int64(lay.row)
	}
	return size
}

func newStore(c capacity, rings []ring, file *os.File) *store {
	s := &store{lay: newLayout(c), rings: rings, file: file, pos: make([]int64, len(rings))}
	size := place(s.lay, rings)
	if file == nil {
		s.mem = make([]byte, size)
	}
	for _, r := range rings {
		t := make([]span, (r.rows+chunk-1)/chunk)
		for i := range t {
			t[i].first = math.MaxUint32
		}
		s.times = append(s.times, t)
	}
	s.dirty = true
	return s
}

func (s *store) writeAt(b []byte, at int64) error {
	if s.file == nil {
		copy(s.mem[at:], b)
		return nil
	}
	_, err := s.file.WriteAt(b, at)
	return err
}

func (s *store) readAt(b []byte, at int64) error {
	if s.file == nil {
		copy(b, s.mem[at:])
		return nil
	}
	n, err := s.file.ReadAt(b, at)
	if err == io.EOF { // somebody cut it: what is missing was not measured
		clear(b[n:])
		return nil
	}
	return err
}

func (s *store) header() []byte {
	b := make([]byte, headerSize)
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], version)
	for k, n := range s.lay.cap {
		binary.LittleEndian.PutUint16(b[12+2*k:], n)
	}
	binary.LittleEndian.PutUint32(b[headerSize-4:], crc32.Checksum(b[:headerSize-4], castagnoli))
	return b
}

// load reads what is in a file. An error says why it is not one of ours.
func load(f *os.File) (*store, error) {
	b := make([]byte, headerSize)
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("its header can't be read: %w", err)
	}
	if string(b[:8]) != magic {
		return nil, fmt.Errorf("it is no history: it begins with %q", b[:8])
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != version {
		return nil, fmt.Errorf("it has version %d, and this program writes %d", v, version)
	}
	if binary.LittleEndian.Uint32(b[headerSize-4:]) != crc32.Checksum(b[:headerSize-4], castagnoli) {
		return nil, fmt.Errorf("its header is damaged")
	}
	var c capacity
	for k := range c {
		c[k] = binary.LittleEndian.Uint16(b[12+2*k:])
		if c[k] > most[k] {
			return nil, fmt.Errorf("its header asks for %d slots of kind %d", c[k], k)
		}
	}
	s := newStore(c, fileRings(), f)
	if fi, err := f.Stat(); err != nil || fi.Size() != place(s.lay, s.rings) {
		return nil, fmt.Errorf("it has the wrong size (%v)", err)
	}
	if err := s.loadTable(); err != nil {
		return nil, err
	}
	return s, s.scan()
}

func (s *store) loadTable() error {
	b := make([]byte, tableSize)
	found := false
	for i := range int64(2) {
		if err := s.readAt(b, headerSize+i*tableSize); err != nil {
			return fmt.Errorf("its table can't be read: %w", err)
		}
		if gen, entries, ok := s.parseTable(b); ok && (!found || gen > s.gen) {
			s.gen, s.entries, found = gen, entries, true
		}
	}
	if !found {
		return fmt.Errorf("both copies of its table of subjects are damaged")
	}
	s.dirty = false
	return nil
}

func (s *store) parseTable(b []byte) (gen uint64, out []*entry, ok bool) {
	n := int(binary.LittleEndian.Uint32(b[8:]))
	if n > maxEntries || binary.LittleEndian.Uint32(b[12:]) != tableSum(b, n) {
		return 0, nil, false
	}
	for i := range n {
		r := b[tableHeader+i*entrySize:]
		e := &entry{from: binary.LittleEndian.Uint64(r), to: binary.LittleEndian.Uint64(r[8:]), kind: int(r[16]),
			slot:  int(binary.LittleEndian.Uint16(r[18:])),
			index: binary.LittleEndian.Uint16(r[20:])}
		size := int(binary.LittleEndian.Uint16(r[22:]))
		if e.kind >= kinds || e.slot >= int(s.lay.cap[e.kind]) || size > maxSubject {
			return 0, nil, false
		}
		e.subject = string(r[entryHeader : entryHeader+size])
		out = append(out, e)
	}
	return binary.LittleEndian.Uint64(b), out, true
}

func tableSum(b []byte, n int) uint32 {
	sum := crc32.Checksum(b[:12], castagnoli)
	return crc32.Update(sum, castagnoli, b[tableHeader:tableHeader+n*entrySize])
}

// saveTable writes the copy that is not the current one, so that one is always whole.
func (s *store) saveTable() error {
	if !s.dirty {
		return nil
	}
	b := make([]byte, tableSize)
	binary.LittleEndian.PutUint64(b, s.gen+1)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(s.entries)))
	for i, e := range s.entries {
		r := b[tableHeader+i*entrySize:]
		binary.LittleEndian.PutUint64(r, e.from)
		binary.LittleEndian.PutUint64(r[8:], e.to)
		r[16] = byte(e.kind)
		binary.LittleEndian.PutUint16(r[18:], uint16(e.slot))
		binary.LittleEndian.PutUint16(r[20:], e.index)
		binary.LittleEndian.PutUint16(r[22:], uint16(copy(r[entryHeader:entrySize], e.subject)))
	}
	binary.LittleEndian.PutUint32(b[12:], tableSum(b, len(s.entries)))
	if err := s.writeAt(b, headerSize+int64((s.gen+1)%2)*tableSize); err != nil {
		return err
	}
	s.gen, s.dirty = s.gen+1, false
	return nil
}

// scan finds the newest row of each ring.
func (s *store) scan() error {
	for i := range s.rings {
		newest, pos := uint64(0), int64(0)
		err := s.rows(i, nil, func(at int64, seq uint64, t uint32, _ []byte) {
			c := &s.times[i][at/chunk]
			c.first, c.last = min(c.first, t), max(c.last, t)
			if seq > newest {
				newest, pos = seq, (at+1)%s.rings[i].rows
			}
		})
		if err != nil {
			return fmt.Errorf("its rows can't be read: %w", err)
		}
		s.pos[i], s.seq = pos, max(s.seq, newest)
	}
	for _, e := range s.entries { // a table that was written when the rows were not
		s.seq = max(s.seq, e.from-min(e.from, 1))
		if e.to != noEnd {
			s.seq = max(s.seq, e.to)
		}
	}
	return nil
}

// rows calls each for every whole row of a ring, in the order in which they were written. want chooses chunks by their
// times; nil: all.
func (s *store) rows(i int, want func(span) bool, each func(at int64, seq uint64, t uint32, row []byte)) error {
	r, size := s.rings[i], int64(s.lay.row)
	buf := make([]byte, chunk*size)
	chunks := int64(len(s.times[i]))
	begin := s.pos[i] / chunk
	read := func(c, from, to int64) error {
		// The chunk that is being written still has old rows.
		if want != nil && c != begin && !want(s.times[i][c]) {
			return nil
		}
		to = min(to, r.rows)
		if from >= to {
			return nil
		}
		b := buf[:(to-from)*size]
		if err := s.readAt(b, r.at+from*size); err != nil {
			return err
		}
		for at := from; at < to; at++ {
			row := b[(at-from)*size : (at-from+1)*size]
			seq := binary.LittleEndian.Uint64(row[4:])
			if seq == 0 || binary.LittleEndian.Uint32(row) != crc32.Checksum(row[4:], castagnoli) {
				continue
			}
			each(at, seq, binary.LittleEndian.Uint32(row[12:]), row)
		}
		return nil
	}
	if err := read(begin, s.pos[i], (begin+1)*chunk); err != nil {
		return err
	}
	for n := int64(1); n < chunks; n++ {
		c := (begin + n) % chunks
		if err := read(c, c*chunk, (c+1)*chunk); err != nil {
			return err
		}
	}
	return read(begin, begin*chunk, s.pos[i])
}

// append writes one row; its columns are filled, its header is not.
func (s *store) append(i int, t uint32, row []byte) error {
	at := s.pos[i]
	s.seq++
	s.seal(row, s.seq, t)
	c := &s.times[i][at/chunk]
	if at%chunk == 0 {
		*c = span{t, t}
	}
	c.first, c.last = min(c.first, t), max(c.last, t)
	s.pos[i] = (at + 1) % s.rings[i].rows
	return s.writeAt(row, s.rings[i].at+at*int64(s.lay.row))
}

func (s *store) seal(row []byte, seq uint64, t uint32) {
	binary.LittleEndian.PutUint64(row[4:], seq)
	binary.LittleEndian.PutUint32(row[12:], t)
	binary.LittleEndian.PutUint32(row, crc32.Checksum(row[4:], castagnoli))
}

// find returns the current entry of a subject.
func (s *store) find(kind int, subject string) *entry {
	for _, e := range s.entries {
		if e.to == noEnd && e.kind == kind && e.subject == subject {
			return e
		}
	}
	return nil
}

// assign gives a subject a slot: a free one, or that of a subject which is gone the longest. nil: all are in use.
func (s *store) assign(kind int, subject string, index uint16, live func(*entry) bool) *entry {
	taken := make([]*entry, s.lay.cap[kind])
	used := make([]bool, s.lay.cap[kind])
	for _, e := range s.entries {
		if e.kind == kind {
			used[e.slot] = true
			if e.to == noEnd {
				taken[e.slot] = e
			}
		}
	}
	best := -1
	better := func(a, b int) bool { // a before b
		switch {
		case taken[a] == nil && taken[b] == nil:
			return !used[a] && used[b]
		case taken[a] == nil || taken[b] == nil:
			return taken[a] == nil
		}
		return taken[a].seen < taken[b].seen
	}
	for i, e := range taken {
		if (e == nil || !live(e)) && (best < 0 || better(i, best)) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	if e := taken[best]; e != nil {
		e.to = s.seq
	}
	e := &entry{kind: kind, slot: best, subject: subject, index: index, from: s.seq + 1, to: noEnd}
	s.entries = append(s.entries, e)
	if len(s.entries) > maxEntries {
		oldest := slices.MinFunc(s.entries, func(a, b *entry) int {
			if a.to != b.to {
				if a.to < b.to {
					return -1
				}
				return 1
			}
			return int(a.from) - int(b.from)
		})
		s.entries = slices.DeleteFunc(s.entries, func(e *entry) bool { return e == oldest })
	}
	s.dirty = true
	return e
}

// copyRows puts all rows of src, whose slots have the same numbers here, into this store, which is new.
func (s *store) copyRows(src *store) error {
	s.seq = src.seq
	s.entries = nil
	for _, e := range src.entries {
		c := *e
		s.entries = append(s.entries, &c)
	}
	s.dirty = true
	for i := range s.rings {
		err := s.copyRing(src, i, func(_ uint64, from, to []byte) {
			for k := range kinds {
				n := s.lay.width[k] * int(min(s.lay.cap[k], src.lay.cap[k]))
				copy(to[s.lay.offset[k]:], from[src.lay.offset[k]:src.lay.offset[k]+n])
			}
		}, false)
		if err != nil {
			return err
		}
	}
	return nil
}

// merge adds the rows of src to those that are here, by the names of its subjects.
func (s *store) merge(src *store) error {
	type move struct{ from, to *entry }
	var moves []move
	for _, e := range src.entries {
		if e.to != noEnd {
			continue
		}
		here := s.find(e.kind, e.subject)
		if here == nil {
			here = s.assign(e.kind, e.subject, e.index, func(o *entry) bool { return src.find(o.kind, o.subject) != nil })
		}
		if here != nil {
			moves = append(moves, move{e, here})
		}
	}
	for i := range s.rings {
		err := s.copyRing(src, i, func(seq uint64, from, to []byte) {
			for _, m := range moves {
				if k := m.from.kind; seq >= m.from.from {
					w := s.lay.width[k]
					a, b := src.lay.offset[k]+m.from.slot*w, s.lay.offset[k]+m.to.slot*w
					copy(to[b:b+w], from[a:a+w])
				}
			}
		}, true)
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *store) copyRing(src *store, i int, fill func(seq uint64, from, to []byte), again bool) error {
	row := make([]byte, s.lay.row)
	var failed error
	err := src.rows(i, nil, func(_ int64, seq uint64, t uint32, from []byte) {
		if failed != nil {
			return
		}
		s.lay.empty(row)
		fill(seq, from, row)
		if again {
			failed = s.append(i, t, row)
			return
		}
		last := s.seq
		s.seq = seq - 1
		failed = s.append(i, t, row)
		s.seq = last
	})
	if err == nil {
		err = failed
	}
	return err
}

// empty makes all columns of a row "not measured".
func (l *layout) empty(row []byte) {
	for i := rowHeader; i < len(row); i++ {
		row[i] = 0xff
	}
}

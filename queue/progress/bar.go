package progress

import (
	"strings"
)

// read are the marks of a line, the outermost first.
func read(l line) []mark {
	if i := strings.Index(l.text, "%|"); i > 0 {
		if ms := tqdm(l, i); ms != nil {
			return ms
		}
	}
	if ms := keras(l); ms != nil {
		return ms
	}
	if i := strings.Index(l.text, "━"); i >= 0 {
		if ms := rich(l, i); ms != nil {
			return ms
		}
	}
	return words(l.text)
}

// newBar is a bar behind a description.
func newBar(l line, desc string) mark {
	desc = strings.Trim(desc, " :")
	return mark{rank: steps, bar: true, depth: l.up, label: unnumbered(desc), stage: stageOf(desc), left: -1}
}

// tqdm reads "desc:  12%|█▏   | 120/1000 [00:30<03:40,  4.00it/s]"; at is where its "%|" stands.
func tqdm(l line, at int) []mark {
	begin := at
	for begin > 0 && digit(l.text[begin-1]) {
		begin--
	}
	percent, _, ok := number(l.text[begin:at])
	_, rest, closed := strings.Cut(l.text[at+2:], "|")
	if !ok || !closed {
		return nil
	}
	desc := l.text[:begin]
	m := newBar(l, desc)
	m.done, m.total = percent, 100
	count, times, _ := strings.Cut(rest, "[")
	if k, r, ok := counted(strings.TrimLeft(count, " ")); ok && strings.HasPrefix(r, "/") {
		if n, _, ok := counted(r[1:]); ok && n > 0 {
			m.done, m.total = k, n
		}
	}
	if _, left, ok := strings.Cut(times, "<"); ok {
		if d, _, ok := clock(left); ok {
			m.left = d
		}
		m.rate, m.unit = rateIn(strings.TrimPrefix(left[min(len(left), max(0, strings.IndexByte(left, ','))):], ","))
	}
	return m.behind(desc)
}

// keras reads "120/390 [=====>....] - ETA: 12s - loss: 0.3" and "120/390 ━━━━━━━━ 12s 33ms/step - loss: 0.3".
func keras(l line) []mark {
	k, rest, ok := number(strings.TrimLeft(l.text, " "))
	if !ok || !strings.HasPrefix(rest, "/") {
		return nil
	}
	n, rest, ok := number(rest[1:])
	rest = strings.TrimLeft(rest, " ")
	if !ok || n < 1 {
		return nil
	}
	m := newBar(l, "")
	m.done, m.total = k, n
	switch {
	case strings.HasPrefix(rest, "[=") || strings.HasPrefix(rest, "[>") || strings.HasPrefix(rest, "[."):
		m.left = leftIn(rest)
	case strings.HasPrefix(rest, "━"):
		rest = strings.TrimLeft(rest, "━╸╺ ")
		if d, _, ok := clock(rest); ok && !m.full() {
			m.left = d
		}
	default:
		return nil
	}
	m.rate, m.unit = rateIn(rest)
	return []mark{m}
}

// rich reads "Epoch 3/9  ━━━━━╺━━━━ 30/100 0:00:02 • 0:00:07 10.32it/s" and "Working... ━━━╺━━━ 37% 0:00:12"; at is
// where its bar begins.
func rich(l line, at int) []mark {
	desc := l.text[:at]
	m := newBar(l, desc)
	rest := strings.TrimLeft(l.text[at:], "━╸╺ ")
	v, after, ok := number(rest)
	if !ok {
		return nil
	}
	switch {
	case strings.HasPrefix(after, "%"):
		m.done, m.total = v, 100
		if d, _, ok := clock(strings.TrimLeft(after[1:], " ")); ok {
			m.left = d
		}
	case strings.HasPrefix(after, "/"):
		n, after, ok := number(after[1:])
		if !ok || n <= 0 {
			return nil
		}
		m.done, m.total = v, n
		if len(after) > 2 && strings.HasSuffix(strings.Fields(after + " .")[0], "B") && m.stage == "" {
			m.stage = transfer
		}
		if m.left = leftIn(after); m.left < 0 {
			if _, left, ok := strings.Cut(after, "• "); ok {
				if d, _, ok := clock(left); ok {
					m.left = d
				}
			}
		}
	default:
		return nil
	}
	m.rate, m.unit = rateIn(rest)
	ms := m.behind(desc)
	for i := range ms[:len(ms)-1] {
		ms[i].zero = strings.Contains(rest, "•") // Lightning's
	}
	return ms
}

// transfer is the stage of a bar that counts bytes.
const transfer = "a transfer"

// behind is a bar with the loops that its description counts: "Epoch 3/10", or a count at its beginning.
func (m mark) behind(desc string) (out []mark) {
	if m.unit == "B" && m.stage == "" {
		m.stage = transfer
	}
	if m.stage == "" || m.rank == steps && strings.Contains(desc, "/") {
		for _, o := range words(desc) {
			if o.total > 0 && o.stage == "" && !strings.HasPrefix(o.label, "%") {
				o.rank, o.twice, o.begins, o.depth = min(o.rank, epochs), false, false, m.depth
				if o.rank == none {
					o.rank = epochs
				}
				out = append(out, o)
			}
		}
	}
	if len(out) > 0 {
		m.stage = ""
	}
	return append(out, m)
}

// besides are beginnings of words for what is done before or beside the work itself.
var besides = [...]string{"download", "load", "fetch", "extract", "map", "filter", "tokeniz", "resolv", "validat", "evaluat",
	"sanity", "unpack", "upload", "writing", "saving", "generating train", "generating val", "generating test"}

// stageOf is the stage that a description names, or "".
func stageOf(desc string) string {
	low := strings.ToLower(desc)
	if len(desc) > 40 {
		desc = strings.ToValidUTF8(desc[:40], "")
	}
	for _, b := range besides {
		if strings.HasPrefix(low, b) {
			return desc
		}
	}
	if i := strings.Index(low, "epoch"); i >= 0 {
		after := strings.TrimLeft(strings.TrimPrefix(low[i+len("epoch"):], "s"), " :#=[(")
		if _, rest, ok := number(after); ok && !strings.HasPrefix(rest, "/") && !strings.HasPrefix(rest, " of ") {
			return desc
		}
	}
	return ""
}

// unnumbered is text without its digits.
func unnumbered(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, text)
}

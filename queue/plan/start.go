package plan

// start begins what may go, in order. The first that does not fit holds a place.
func (p *Planner) start() {
	if p.drain {
		return
	}
	p.giveWay()
	for len(p.line) > 0 && p.mayFit() {
		s := p.line[0].shapes[0]
		if !p.fits(p.needOf(s.request)) {
			p.fill(s)
			return
		}
		p.startItem(s.items[0])
	}
}

// mayFit reports whether something in the line may fit: services come first there, and take no slot.
func (p *Planner) mayFit() bool { return p.room.slots > 0 || p.line[0].shapes[0].items[0].service() }

// fits reports whether a job can start now.
func (p *Planner) fits(n need) bool {
	return p.room.fits(n) && (n.gpus == 0 || p.limits.GPUsUnknown == "")
}

// startItem begins a job, or the next element of an array.
func (p *Planner) startItem(it *item) {
	if !it.isArray() {
		p.begin(it)
		return
	}
	st := p.touch(it)
	if st.StartedAt.IsZero() {
		st.StartedAt = p.now
	}
	p.begin(p.element(it.arr, it.arr.next()))
	p.tidyArray(it.arr)
}

// add takes in a job; it is arranged by the caller.
func (p *Planner) add(it *item, key shapeKey) {
	p.items[it.id] = it
	p.join(it, key)
	if it.id.Element {
		it.arr.own[it] = struct{}{}
	}
}

package telemetry

import (
	"context"
	"math/rand/v2"
	"time"

	"berth/backend/api"
	"berth/backend/base/coalesce"
	"berth/backend/service/store"
	"berth/gpu"
	"berth/gpu/idle"
)

const (
	// readParallel is how many histories are read at once.
	readParallel = 8
	// readLimit is how long one may take.
	readLimit = 15 * time.Second
	// readAgain is how often the history is read again while the line holds: it knows the seconds that a slow watcher
	// did not see. Each instance has its own time for it, so that not all are asked at once.
	readAgain = time.Hour
	// After a history could not be read it is tried again, later and later.
	firstRead = time.Minute
	lastRead  = 30 * time.Minute
	// clockLimit is from where on an instance's clock is another one than ours.
	clockLimit = time.Minute
	// dayTick is how often it is looked whether the day is over, where no line comes.
	dayTick = time.Minute
	// endingLimit is how long an instance takes, at most, from the last figures to being stopped.
	endingLimit = 15 * time.Minute
)

// idleness is what is known of the day of an instance's GPUs. Its fields are guarded by Hub.mu.
type idleness struct {
	day     *idle.Day
	minute  int             // of the day, that is still going on; -1: none
	ahead   time.Duration   // of the instance's clock
	heard   coalesce.Signal // its history may be read: figures come that did not before
	heardAt time.Time       // when a line came last
	whole   bool            // the day until then is known: its history was read since the line came up
	readErr error           // why its history could not be read
	changed bool            // since day was kept
	counted bool            // figure is up to date
	figure  *api.IdleToday
}

// ended says that it stops, and up to when its day is known.
func (x *host) ended() {
	if x.whole && !x.heardAt.Before(x.day.Start) {
		x.day.Ended, x.changed = x.heardAt, true
	}
	x.whole = false
}

// quiet says that no line comes now: the last minute is over.
func (x *host) quiet() {
	x.minute, x.counted = -1, false
}

// noteIdle notes what GPUs do in a summary.
func (x *host) noteIdle(s *gpu.Summary, now time.Time) {
	x.ahead = 0
	if d := s.At.Sub(now); d.Abs() >= clockLimit {
		x.ahead = d.Round(time.Minute) // as the history's minutes
	}
	x.heardAt = now
	if len(s.GPUs) > 0 && (x.silent != nil || x.last == nil || len(x.last.GPUs) == 0) {
		x.whole = false
		x.heard.Send()
	}
	minute := x.day.Minute(s.At.Add(-x.ahead))
	if minute != x.minute {
		x.minute, x.counted, x.changed = minute, false, true
	}
	if s.Stale {
		return
	}
	for i := range s.GPUs {
		if g := &s.GPUs[i]; g.Utilization != nil && g.Error == "" {
			x.day.Mark(minute, idle.Key(g.ID, g.Index), *g.Utilization >= gpu.BusyPercent)
		}
	}
}

// roll begins a new day when the old one is over. h.mu must be held.
func (h *Hub) roll() {
	now := h.o.Now()
	if !now.Before(h.today.Start) && now.Before(h.today.End) {
		return
	}
	h.today = idle.New(now)
	for _, x := range h.hosts {
		x.newDay(h.today)
	}
	for _, x := range h.hosts { // when all have their new day
		h.publish(x)
	}
}

func (x *host) newDay(today *idle.Day) {
	x.day, x.minute, x.counted, x.changed = today.Clone(), -1, false, false
}

// keepDay looks whether the day is over until ctx ends.
func (h *Hub) keepDay(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(dayTick):
		}
		h.mu.Lock()
		h.roll()
		h.mu.Unlock()
	}
}

// keepIdle keeps the days of hosts, so that what they wasted counts when they can't be asked. h.mu must be held.
func (h *Hub) keepIdle(ctx context.Context, hosts ...*host) {
	days := map[string]*idle.Day{}
	for _, x := range hosts {
		if x.changed {
			x.changed = false
			days[x.in.ID] = x.day.Clone()
		}
	}
	if len(days) == 0 {
		return
	}
	h.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // it is wanted most when all ends
		defer cancel()
		if err := h.o.Workspace.KeepIdle(ctx, days); err != nil {
			h.o.Log.Warn("keeping when GPUs were idle", "error", err)
		}
	})
}

// followIdle reads an instance's history, when it is heard and then seldom, until ctx ends.
func (h *Hub) followIdle(ctx context.Context, id string, heard <-chan struct{}) {
	var next <-chan time.Time // nil: only when it is heard
	wait := firstRead
	for {
		select {
		case <-ctx.Done():
			return
		case <-heard:
			wait = firstRead
		case <-next:
		}
		select {
		case <-ctx.Done():
			return
		case h.readers <- struct{}{}:
		}
		err := h.readIdle(ctx, id)
		<-h.readers
		if ctx.Err() != nil {
			return
		}
		h.readDone(id, err)
		switch {
		case err == nil:
			next = time.After(readAgain/2 + rand.N(readAgain))
			wait = firstRead
		case noHistory(err):
			next = nil
		default:
			next = time.After(wait)
			wait = min(2*wait, lastRead)
		}
	}
}

// noHistory reports whether an agent is of a release that keeps none.
func noHistory(err error) bool {
	switch api.AsError(err).Code {
	case api.CodeNotFound, api.CodeUnsupported:
		return true
	}
	return false
}

// readIdle reads what an instance measured today since it was asked last.
func (h *Hub) readIdle(ctx context.Context, id string) error {
	rec, err := h.o.Workspace.Record(id)
	if err != nil {
		return err
	}
	if err := h.o.Workspace.May(ctx, api.ActionAccess, &rec.Instance); err != nil {
		return err
	}
	h.mu.Lock()
	x := h.hosts[id]
	if x == nil {
		h.mu.Unlock()
		return nil
	}
	h.roll()
	now, ahead, from := h.o.Now(), x.ahead, x.day.Start
	if x.day.Until.After(from) {
		from = x.day.Until
	}
	got := h.today.Clone()
	h.mu.Unlock()
	if !from.Before(now) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	client := h.o.Workspace.AgentClient(rec)
	defer client.Close()
	// As many points as there are minutes: the answer then has no finer steps, and never coarser ones.
	since, until := from.Add(ahead), now.Add(ahead)
	minutes := int(until.Unix()/60-since.Unix()/60) + 1
	series, err := client.History(ctx, api.HistoryOptions{Metrics: []string{"gpu_utilization_percent"}, Since: since,
		Until: until, Points: minutes})
	if err != nil {
		return err
	}
	got.Read(series, ahead)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hosts[id] != x || ctx.Err() != nil || !x.day.Same(got) { // midnight has come: the next reading is of the new day
		return ctx.Err()
	}
	x.day.Merge(got)
	x.day.Until = now.Truncate(time.Minute) // this one is not over
	x.changed, x.whole = true, x.silent == nil
	return nil
}

// readDone notes how a reading ended.
func (h *Hub) readDone(id string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.hosts[id]
	if x == nil {
		return
	}
	x.readErr, x.counted = err, false
	h.publish(x)
}

// idleToday is what the GPUs of an instance did not do today. h.mu must be held.
func (h *Hub) idleToday(x *host) *api.IdleToday {
	if x.counted {
		return x.figure
	}
	x.counted = true
	x.figure = h.countIdle(x)
	if len(x.day.GPUs) == 0 {
		return x.figure // most of a fleet without GPUs: nobody shows the same
	}
	// Who shows the same GPUs counts what is left of them.
	for _, y := range h.hosts {
		if y.in.ID > x.in.ID && shared(x, y) {
			y.counted = false
			if y.stop == nil || y.silent != nil { // no line of its own says it
				h.publish(y)
			}
		}
	}
	return x.figure
}

// price is what an instance costs an hour while it runs; nil: it is not known.
func price(in *api.Instance) *float64 {
	if in.RunningUSDPerHour != nil {
		return in.RunningUSDPerHour
	}
	return in.PriceUSDPerHour
}

func shared(x, y *host) bool {
	for key := range x.day.GPUs {
		if _, ok := y.day.GPUs[key]; ok && idle.Named(key) {
			return true
		}
	}
	return false
}

func (h *Hub) countIdle(x *host) *api.IdleToday {
	n := len(x.in.GPUs)
	if x.last != nil && len(x.last.GPUs) > 0 {
		n = len(x.last.GPUs)
	}
	n = max(n, len(x.day.GPUs))
	lives := usable(x.in.State)
	missed := !lives && h.missed(x)
	if n == 0 || (!lives && !missed && len(x.day.GPUs) == 0) {
		return nil
	}
	var before, others []*idle.Day
	for _, y := range h.hosts {
		if y != x && shared(x, y) {
			others = append(others, y.day)
			if y.in.ID < x.in.ID && price(&y.in) != nil {
				before = append(before, y.day)
			}
		}
	}
	all, rest := time.Duration(0), time.Duration(0)
	for key := range x.day.GPUs {
		if !idle.Named(key) {
			d := x.day.Idle(key, x.minute, nil, nil)
			all, rest = all+d, rest+d
			continue
		}
		all += x.day.Idle(key, x.minute, nil, others)
		rest += x.day.Idle(key, x.minute, before, others)
	}
	out := &api.IdleToday{Day: x.day.Start.Format(time.DateOnly), GPUSeconds: all.Seconds()}
	perHour := price(&x.in)
	switch {
	case perHour == nil:
		out.Why = "no price of it is known"
		return out
	case x.readErr != nil && noHistory(x.readErr):
		out.Why = "its agent is of a release that keeps no history"
		return out
	case missed:
		out.Why = "not all that it did before it stopped was seen"
	case lives && x.silent != nil:
		out.Why = "its agent is silent"
	case lives && x.last != nil && len(x.last.GPUs) == 0:
		out.Why = "its GPUs give no figures"
	case lives && x.readErr != nil:
		out.Why = "its history can't be read: " + api.AsError(x.readErr).Message
	case lives && !x.whole:
		out.Why = "its history has not been read yet"
	}
	usd := func(d time.Duration) *float64 { return new(d.Hours() * *perHour / float64(n)) }
	out.USD = usd(all)
	if len(before) > 0 {
		out.SumUSD = usd(rest)
	}
	return out
}

// missed reports whether an instance that does not run did so today without being followed to its end.
func (h *Hub) missed(x *host) bool {
	if x.in.State == api.StateStarting {
		return false
	}
	rec, err := h.o.Workspace.Record(x.in.ID)
	if err != nil {
		return false
	}
	return ranToday(&rec, x.day) && x.in.StateSince.Sub(x.day.Ended) > endingLimit
}

func ranToday(rec *store.Instance, d *idle.Day) bool {
	return rec.Usage.Day == d.Start.Format(time.DateOnly) && (rec.Usage.Seconds > 0 || rec.Usage.Since != nil)
}

package plan

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/queue"
)

// bob is another user, who waits for a GPU.
func bob(used time.Duration, wants ...Want) Claim {
	if wants == nil {
		wants = []Want{{GPUs: 1, Jobs: 1}}
	}
	return Claim{Stand: Stand{UID: 1002, Used: used, At: epoch, Since: epoch}, User: "bob", Wants: wants}
}

// against are three GPUs that are shared with others, and how this user stands.
func against(used time.Duration, others ...Claim) SetGPUs {
	return SetGPUs{GPUs: someGPUs(3), Sharing: Sharing{Mine: Stand{UID: 1001, Used: used, At: epoch, Since: epoch},
		Others: others}}
}

func TestWhoUsedLessComesFirst(t *testing.T) {
	w := newWorld(t, Limits{Slots: 9})
	w.ok(against(9*time.Hour, bob(2*time.Hour)))
	a, b, c := w.submit(gpus(1)), w.submit(gpus(1)), w.submit(gpus(1))
	require.Equal(t, "preparing preparing queued", w.states(a, b, c))
	require.Equal(t, [][]int{{1}, {2}}, [][]int{w.indices(a), w.indices(b)}, "bob needs one only")
	require.Equal(t, "it is the next, and waits for a GPU (GPU 0 is free, but bob comes first (2 h of GPU time against your "+
		"9 h in the last days); GPU 1: job 1; GPU 2: job 2)", w.reason(c).Text)
	require.Equal(t, "preparing", w.states(w.submit(gpus(0))), "what needs none goes on")
	w.ok(against(9*time.Hour, bob(10*time.Hour)))
	require.Equal(t, "preparing", w.states(c))

	w = newWorld(t, Limits{Slots: 9})
	w.ok(against(time.Hour, bob(time.Hour, Want{GPUs: 1, Jobs: 2})))
	a, b = w.submit(gpus(1)), w.submit(gpus(2))
	require.Equal(t, "preparing preparing", w.states(a, b), "of two that are alike, who waits for the longest; then the lower UID")
	w = newWorld(t, Limits{Slots: 9})
	older := bob(time.Hour, Want{GPUs: 1, Jobs: 2})
	older.Since = epoch.Add(-time.Second)
	w.ok(against(time.Hour, older))
	a, b = w.submit(gpus(1)), w.submit(gpus(1))
	require.Equal(t, "preparing queued", w.states(a, b))
	require.Contains(t, w.reason(b).Text, "GPU 0, GPU 1 are free, but bob comes first (1 h of GPU time in the last days, like you)")
	w.now = w.now.Add(3 * time.Hour)
	holds := against(2*time.Hour, older)
	holds.Sharing.Others[0].Holds = 1
	w.ok(holds)
	require.Equal(t, "preparing", w.states(b), "bob has used a GPU since, and has 4 h now")
}

func TestWhatIsLeftIsWhatOthersCanTake(t *testing.T) {
	for _, c := range []struct {
		name  string
		wants []Want
		waits time.Duration
		free  int // for this user
	}{
		{"too many", []Want{{GPUs: 4, Jobs: 1}}, time.Hour, 3},
		{"all", []Want{{GPUs: 3, Jobs: 1}}, 0, 0},
		{"and nothing behind what doesn't fit", []Want{{GPUs: 2, Jobs: 2}, {GPUs: 1, Jobs: 1}}, 0, 1},
		{"shares of one", []Want{{GPUs: 1, Memory: 20 * gib, Jobs: 4}}, 0, 2},
		{"shares of two", []Want{{GPUs: 1, Memory: 20 * gib, Jobs: 5}}, 0, 1},
		{"larger than any", []Want{{GPUs: 1, Memory: 200 * gib, Jobs: 1}}, time.Hour, 3},
		{"kept for what waits long", []Want{{GPUs: 2, Jobs: 2}}, gatherAfter, 0},
	} {
		w := newWorld(t, Limits{Slots: 99})
		x := bob(0, c.wants...)
		x.Since = epoch.Add(-c.waits)
		w.ok(against(time.Hour, x))
		for range 4 {
			w.submit(gpus(1))
		}
		active, _ := w.p.Counts()
		require.Equal(t, c.free, active, c.name)
	}
	w := newWorld(t, Limits{Slots: 99})
	x := bob(0, Want{GPUs: 2, Jobs: 2})
	x.Since = epoch.Add(-gatherAfter)
	w.ok(against(time.Hour, x))
	require.Contains(t, w.reason(w.submit(gpus(1))).Text, "GPU 2 is free, but kept for bob, who has waited 5 min for 2 GPUs (0 s of ")
	for _, leased := range []bool{true, false} { // of the third
		w := newWorld(t, Limits{Slots: 99})
		y := against(time.Hour, x)
		y.Sharing.Others[0].Wants = []Want{{GPUs: 3, Jobs: 1}}
		y.GPUs[2].Users = []User{{Text: "somebody", Leased: leased}}
		w.ok(y)
		require.Equal(t, map[bool]string{true: "queued", false: "preparing"}[leased], w.states(w.submit(gpus(1))),
			"what others than jobs use may never be free")
	}
	mine := newWorld(t, Limits{Slots: 99})
	mine.ok(SetGPUs{GPUs: someGPUs(1)})
	require.Equal(t, "preparing", mine.states(mine.submit(share(10*gib))))
	y := against(time.Hour, bob(0, Want{GPUs: 1, Memory: gib, Jobs: 1}))
	y.GPUs = y.GPUs[:1]
	mine.ok(y)
	require.Equal(t, "preparing", mine.states(mine.submit(share(10*gib))), "bob shares no GPU with this user")
}

// TestWhoDoesNotTakeTheirTurn loses it for a while.
func TestWhoDoesNotTakeTheirTurn(t *testing.T) {
	w := newWorld(t, Limits{Slots: 9})
	say := func(starts int64) string {
		x := bob(0, Want{GPUs: 3, Jobs: 1})
		x.Starts = starts
		w.ok(against(time.Hour, x))
		return w.states(queue.ID{Number: 1})
	}
	say(1)
	a := w.submit(gpus(1))
	require.Equal(t, "queued", w.states(a))
	w.now = w.now.Add(turnFor - 1)
	require.Equal(t, "queued", say(1))
	require.Equal(t, "queued", say(2), "it has started something: it gets a new turn")
	w.now = w.now.Add(turnFor - 1)
	require.Equal(t, "queued", say(2))
	w.now = w.now.Add(1)
	require.Equal(t, "preparing", say(2))
	b := w.submit(gpus(2))
	require.Equal(t, "preparing", w.states(b), "for a while")
	w.do(w.exit(a, 0), w.exit(b, 0))
	c := w.submit(gpus(3), func(s *queue.Spec) { s.Hold = true })
	w.now = w.now.Add(passedFor)
	w.ok(Release{c})
	require.Equal(t, "queued", w.states(c), "it comes first again")
}

// A ticket that says of jobs that start, of which nothing is ever seen, holds nobody up for long.
func TestWhoOnlySaysThatTheyStart(t *testing.T) {
	w := newWorld(t, Limits{Slots: 9, GPUs: someGPUs(2)})
	a := w.submit(gpus(1), func(s *queue.Spec) { s.Hold = true })
	starts := int64(0)
	say := func(users ...[]User) {
		starts++
		now := someGPUs(2)
		for i, u := range users {
			now[i].Users = u
		}
		w.ok(SetGPUs{GPUs: now, Sharing: Sharing{Mine: Stand{UID: 1, Used: time.Hour, At: w.now, Since: w.now},
			Others: []Claim{{Stand: Stand{UID: 2, At: w.now, Since: w.now}, User: "bob", Starts: starts,
				Wants: []Want{{GPUs: 1, Jobs: 5}}}}}})
	}
	say()
	w.ok(Release{a})
	for range 30 {
		require.Equal(t, "queued", w.states(a), w.now)
		w.after(time.Second)
		say()
	}
	say([]User{{Text: "job 3 of bob", Leased: true}}) // one is seen
	for range 39 {
		require.Equal(t, "queued", w.states(a), w.now)
		w.after(time.Second)
		say()
	}
	w.after(2 * time.Second)
	say()
	require.Equal(t, "preparing", w.states(a))
}

// A service that waits for a GPU is wanted like a job, also where all slots are taken.
func TestAServiceIsInTheDemand(t *testing.T) {
	w := newWorld(t, Limits{Slots: 1, GPUs: someGPUs(1)})
	w.submit(gpus(1))
	require.Empty(t, w.p.Demand().Wants)
	w.submit(func(s *queue.Spec) {
		service(s)
		s.Request.GPUs = 1
	})
	w.submit(gpus(1))
	require.Equal(t, []Want{{GPUs: 1, Jobs: 1}}, w.p.Demand().Wants)
}

func TestARunThatIsRefused(t *testing.T) {
	w := newWorld(t, Limits{Slots: 9, GPUs: someGPUs(2)})
	a := w.submit(gpus(1))
	b := w.submit(gpus(1), elems("0-1"))
	require.Equal(t, "preparing preparing", w.states(a, b.At(0)))
	refuse := func(id queue.ID) Happened {
		return Happened{queue.Event{ID: id, Attempt: w.journal[id].Attempt, Refused: &queue.Refused{Why: "job 7 of bob"}}}
	}
	w.ok(refuse(a))
	require.Equal(t, "queued", w.states(a))
	require.Zero(t, w.journal[a].Attempt)
	require.Empty(t, w.journal[a].GPUs)
	require.Equal(t, "it is the next, and waits for a GPU (GPU 0: job 7 of bob; GPU 1: job 2_0)", w.reason(a).Text)
	w.restart()
	w.ok(SetGPUs{GPUs: someGPUs(2)})
	require.Equal(t, "preparing", w.states(a))
	require.Equal(t, 1, w.journal[a].Attempt, "as if it had never been begun")
	require.Equal(t, []int{0}, w.indices(a))
	w.ok(refuse(b.At(0)))
	require.Equal(t, "queued", w.states(b.At(0)))
	w.ok(SetGPUs{GPUs: someGPUs(2)})
	require.Equal(t, "preparing", w.states(b.At(0)))
	w.ok(Cancel{b.At(0), "ann"})
	require.Equal(t, "stopping", w.states(b.At(0)))
	w.ok(refuse(b.At(0)))
	require.Equal(t, "cancelled preparing", w.states(b.At(0), b.At(1)), "it was told to end meanwhile")
}

// party is a user of a host, with a queue, whose jobs are all alike and always wait.
type party struct {
	*world
	uid    int
	gpus   int
	length time.Duration
	used   time.Duration
	began  time.Time // when a job last began
	starts int64
}

// host is GPUs that parties share.
type host struct {
	t       require.TestingT
	all     []GPU
	holder  []*party
	job     []queue.ID
	ends    []time.Time
	now     time.Time
	parties []*party
	idle    time.Duration // of GPUs that somebody could have used
	idleAll time.Duration
}

// see tells a party how all is.
func (h *host) see(x *party) {
	now := SetGPUs{GPUs: make([]GPU, len(h.all)), Sharing: Sharing{}}
	copy(now.GPUs, h.all)
	for i, o := range h.holder {
		if o != nil && o != x {
			now.GPUs[i].Users = []User{{Text: fmt.Sprint("job of ", o.uid), Leased: true}}
		}
	}
	now.Sharing.Mine = h.stand(x)
	for _, o := range h.parties {
		if d := o.p.Demand(); o != x && len(d.Wants) > 0 {
			now.Sharing.Others = append(now.Sharing.Others, Claim{Stand: h.stand(o), User: fmt.Sprint(o.uid), Wants: d.Wants,
				Starts: o.starts})
		}
	}
	x.now = h.now
	x.ok(now)
	h.begin(x)
}

// stand is how a party stands.
func (h *host) stand(x *party) Stand {
	s := Stand{UID: x.uid, Used: x.used, At: h.now, Holds: h.holds(x)}
	if front := x.p.Front(1); len(front) > 0 {
		st, _ := x.p.Status(front[0])
		s.Since = st.SubmittedAt
	}
	return s
}

func (h *host) holds(x *party) (n int) {
	for _, o := range h.holder {
		if o == x {
			n++
		}
	}
	return n
}

// begin takes the GPUs for what a party has begun.
func (h *host) begin(x *party) {
	for _, a := range x.last.Actions {
		j := x.journal[a.ID]
		require.Len(h.t, j.GPUs, x.gpus)
		for _, g := range j.GPUs {
			require.Nil(h.t, h.holder[g.Index], "a GPU is held twice")
			h.holder[g.Index], h.job[g.Index], h.ends[g.Index] = x, a.ID, h.now.Add(x.length)
		}
		x.began = h.now
		x.starts++
	}
}

// settle lets all decide until nothing changes any more.
func (h *host) settle() {
	for again := true; again; {
		again = false
		for _, k := range rand.New(rand.NewPCG(1, uint64(h.now.Unix()))).Perm(len(h.parties)) {
			x := h.parties[k]
			for was := x.starts; ; was = x.starts {
				for _, waiting := x.p.Counts(); waiting < 9; waiting++ {
					x.now = h.now
					x.p.drain = true // it is asked for; when it begins, see says
					x.do(Submit{Spec: spec(gpus(x.gpus))})
					x.p.drain = false
				}
				h.see(x)
				if x.starts == was {
					break
				}
				again = true
			}
		}
	}
}

// next goes on to the next end of a job.
func (h *host) next() {
	at := time.Time{}
	for i, o := range h.holder {
		if o != nil && (at.IsZero() || h.ends[i].Before(at)) {
			at = h.ends[i]
		}
	}
	d := at.Sub(h.now)
	if h.couldUse() {
		h.idle += d * time.Duration(h.free())
	}
	for _, o := range h.holder {
		if o != nil {
			o.used += d
		} else {
			h.idleAll += d
		}
	}
	h.now = at
	over := map[*party]map[queue.ID]bool{}
	for i, o := range h.holder {
		if o != nil && !h.ends[i].After(at) {
			if over[o] == nil {
				over[o] = map[queue.ID]bool{}
			}
			over[o][h.job[i]] = true
			h.holder[i] = nil
		}
	}
	for o, ids := range over {
		o.now = h.now
		for id := range ids {
			o.p.drain = true
			o.ok(o.exit(id, 0))
			o.p.drain = false
		}
	}
}

func (h *host) free() (n int) {
	for _, o := range h.holder {
		if o == nil {
			n++
		}
	}
	return n
}

// couldUse reports whether somebody could use the GPUs that are free.
func (h *host) couldUse() bool {
	for _, x := range h.parties {
		if x.gpus <= h.free() {
			return true
		}
	}
	return false
}

// least is who comes first.
func (h *host) least() *party {
	return slices.MinFunc(h.parties, func(a, b *party) int {
		x, y := h.stand(a), h.stand(b)
		return x.compare(&y, h.now)
	})
}

// newHost is a host of three users: the GPUs and the lengths of their jobs.
func newHost(t require.TestingT, gpus [3]int, lengths [3]time.Duration) *host {
	h := &host{t: t, all: someGPUs(8), holder: make([]*party, 8), job: make([]queue.ID, 8), ends: make([]time.Time, 8),
		now: epoch}
	for i := range 3 {
		x := &party{uid: 1000 + i, gpus: gpus[i], length: lengths[i], began: epoch}
		x.world = &world{t: helper{t}, now: epoch, limits: Limits{Slots: 64, GPUs: h.all}, journal: map[queue.ID]queue.Job{}}
		x.p = New(x.limits, 0)
		h.parties = append(h.parties, x)
	}
	return h
}

type helper struct{ require.TestingT }

func (helper) Helper() {}

// run lets all work until jobs have ended so often.
func (h *host) run(what string, ends int) {
	longest := time.Duration(0)
	for _, x := range h.parties {
		longest = max(longest, x.length)
	}
	for range ends {
		h.settle()
		if h.couldUse() {
			x := h.least()
			require.Greater(h.t, x.gpus, h.free(), "%s: user %d comes first, and does not take what it could",
				what, x.uid)
			first, _ := x.p.Status(x.p.Front(1)[0])
			require.GreaterOrEqual(h.t, h.now.Sub(first.SubmittedAt), gatherAfter,
				"%s: GPUs are idle for nobody", what)
		}
		h.next()
		for _, x := range h.parties {
			require.Less(h.t, h.now.Sub(x.began), 12*longest+gatherAfter, "%s: user %d starves", what, x.uid)
		}
	}
}

// TestThreeUsersShareAHost: whatever their jobs are like, three users who always wait get the same GPU time, nobody
// starves, and no GPU is idle that somebody could use, but those that are kept for one who comes first and needs more.
func TestThreeUsersShareAHost(t *testing.T) {
	seeds := uint64(15)
	if os.Getenv("BERTH_CHAOS") != "" {
		seeds = 1000
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 7))
		var gpus [3]int
		var lengths [3]time.Duration
		for i := range 3 {
			gpus[i], lengths[i] = 1+r.IntN(4), time.Duration(30+r.IntN(210))*time.Minute
		}
		what := fmt.Sprint("seed ", seed, ": ", gpus, lengths)
		h := newHost(t, gpus, lengths)
		h.run(what, 250)
		all := h.now.Sub(epoch)
		for _, x := range h.parties {
			require.InDelta(t, 1, float64(x.used)*3/float64(8*all-h.idleAll), 0.1, "%s: user %d", what, x.uid)
		}
		require.Less(t, h.idle.Hours(), 8*all.Hours()*0.25, "%s: GPUs wait for large jobs too long", what)
	}
}

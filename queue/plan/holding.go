package plan

import "berth/queue"

// Holding is how a job holds a GPU, or is the next that gets it.
type Holding struct {
	ID      queue.ID
	Attempt int
	Memory  int64 // bytes that are kept for it, where it shares the GPU; 0: it has it for itself
	Service bool
	Running bool // its main process was seen
}

// mostNext is how many jobs of the line are looked at for those that are next.
const mostNext = 100

// Holders are the jobs that hold GPUs, by the GPUs' UUIDs, and of each GPU the first job in line that it could be given
// to. What a job waits for counts once: a job that waits for two GPUs is the next for two.
func (p *Planner) Holders() (held map[string][]Holding, next map[string]Holding) {
	held, next = map[string][]Holding{}, map[string]Holding{}
	for _, it := range p.active {
		for _, g := range it.st.GPUs {
			held[g.UUID] = append(held[g.UUID],
				Holding{it.id, it.st.Attempt, it.run.need.memory, it.service(), !it.st.StartedAt.IsZero()})
		}
	}
	looked := 0
	for it := range p.inOrder() {
		if looked++; looked > mostNext || len(next) == len(p.room.of) {
			break
		}
		n := p.needOf(it.shape.request)
		wanted := n.gpus
		for i := range p.room.of {
			uuid := p.room.of[i].UUID
			if _, taken := next[uuid]; wanted == 0 || taken || !suits(p.room.of, &p.room.of[i], n) {
				continue
			}
			next[uuid] = Holding{ID: it.id, Memory: n.memory, Service: it.service()}
			wanted--
		}
	}
	return held, next
}

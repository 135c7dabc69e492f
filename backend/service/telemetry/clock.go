package telemetry

import (
	"time"

	"berth/backend/api"
	"berth/gpu"
)

// clockMoves is by how much the times of two lines of figures must differ for the clock to be measured again: a figure
// may be 10 s old when it comes, and a line slow.
const clockMoves = 30 * time.Second

// clockness is what is known of an instance's clock.
type clockness struct {
	off      time.Duration  // by which it is ahead of ours; 0: it is not
	offSince time.Time      // when that was first seen
	line     *time.Duration // by how much a line was ahead of ours when it was measured last; nil: none came yet
}

// clock takes in by how much the clock of an instance is ahead.
func (h *Hub) clock(id string, ahead time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.hosts[id]
	if x == nil {
		return
	}
	x.line = nil
	if x.off == ahead {
		return
	}
	if x.off == 0 {
		x.offSince = h.o.Now().UTC()
	}
	x.off = ahead
	h.find(x)
	h.publish(x)
}

// clockMoved reports whether a line that is ahead of our clock by d says that the instance's was set. The first one
// comes right after it was measured.
func (x *host) clockMoved(d time.Duration) bool {
	if x.line != nil && (d-*x.line).Abs() < clockMoves {
		return false
	}
	moved := x.line != nil
	x.line = &d
	return moved
}

// wrongClock is what is found of a clock that is not ours.
func wrongClock(x *host) (gpu.Finding, bool) {
	if x.off == 0 {
		return gpu.Finding{}, false
	}
	return gpu.Finding{ID: "clock", Rule: "clock", Severity: "warning", Subject: "clock", Since: x.offSince,
		Text: "its clock is " + api.ClockText(x.off),
		Advice: "Certificates, builds and schedules go wrong by it. On the instance: sudo timedatectl set-ntp true, or " +
			"sudo chronyc makestep. If all instances say so, it is this computer's clock."}, true
}

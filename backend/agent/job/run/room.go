package run

import (
	"fmt"

	"golang.org/x/sys/unix"

	"berth/backend/agent/joblog"
)

const (
	// leastRoom is what must be left of a disk when a job begins, and leastShare the same as a part of it: the smaller
	// one counts.
	leastRoom  = 64 << 20
	leastShare = 50
)

// room reports by its error that a disk of the run has too little room for it: that of its log, as large as those of
// the same command were, or that of its working directory. The run waits then: it would fail halfway.
func (x *run) room(cwd string) error {
	log := x.Spec.ExpectLog
	if limit := x.Spec.LogLimit; limit > 0 {
		log = min(log, limit+joblog.Head)
	}
	for _, disk := range []struct {
		dir, what string
		takes     int64
	}{{x.Dir, "its log", log}, {cwd, "its working directory", 0}} {
		var st unix.Statfs_t
		if unix.Statfs(disk.dir, &st) != nil {
			continue // what can't be told is found out
		}
		block := int64(st.Bsize)
		free, all := int64(st.Bavail)*block, int64(st.Blocks)*block
		if need := min(leastRoom, all/leastShare) + disk.takes; all > 0 && free < need {
			why := fmt.Sprintf("the disk of %s (%s) has %s left, and %s are to be left when a job begins", disk.what, disk.dir,
				size(free, 1), size(need, 1))
			if disk.takes > 0 {
				why += fmt.Sprintf(": this command printed %s before", size(log, 1))
			}
			return fmt.Errorf("%s; it begins when there is room", why)
		}
	}
	return nil
}

package process

import "time"

// Said is what a shim tells its agent, on the line that they have, of the process that it keeps. What it says has
// happened stands in the process's folder already.
type Said struct {
	Ready
	Record *Record `json:"record,omitempty"` // of one that runs now
	Exit   *Exit   `json:"exit,omitempty"`   // of one that has ended
	Alone  bool    `json:"alone,omitempty"`  // nothing of it is left
	Free   bool    `json:"free,omitempty"`   // the shim may keep another one
}

const (
	// freeFor is how long a shim that is free waits for another process.
	freeFor = time.Second
	// freeMost is how many wait.
	freeMost = 16
	// keepMost is how many processes a shim keeps, one after the other: whatever may pile up in it does not.
	keepMost = 200
)

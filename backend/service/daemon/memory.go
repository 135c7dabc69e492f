package daemon

// idleHeap is how much a daemon may allocate before its garbage is collected, however little of it lives.
const idleHeap = 48 << 20

// collectLess has garbage collected less often as long as what it returns is kept: when the heap has grown by what
// lives, as Go does by default, and by idleHeap. SSH makes a buffer for each packet, and by the default alone a busy
// line of a small daemon would collect every few megabytes.
//
// What is returned counts as living. It is never read or written, so that the system gives no memory for it. A limit on
// memory in its place, computed at rest, has the collector run without end once more lives than the limit, as with the
// figures of 10,000 instances.
func collectLess() []byte { return make([]byte, idleHeap) }

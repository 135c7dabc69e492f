package forward

// Memory bounds what the connections of one process hold for readers that are slow: see wideOnes.
type Memory struct{ wide chan struct{} }

const (
	// wideWindow is how much more a direction may have under way once it has moved a first window: together they are
	// more than an SSH channel has on its way (2 MiB). wideOnes is how many directions may at once: what waits for
	// readers that don't read takes no more memory than that, and wire.ForwardWindow for each of the rest.
	wideWindow = 2 << 20
	wideOnes   = 32
)

// NewMemory returns the bounds of one process's connections.
func NewMemory() *Memory { return &Memory{make(chan struct{}, wideOnes)} }

func (m *Memory) take() bool {
	select {
	case m.wide <- struct{}{}:
		return true
	default:
		return false
	}
}

func (m *Memory) give() { <-m.wide }

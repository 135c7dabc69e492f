package process

import "strconv"

// Limit is what a process, with all that comes of it, may use at most.
type Limit struct {
	Memory int64 `json:"memory,omitempty"` // bytes; 0: all that there is
	CPUs   int   `json:"cpus,omitempty"`   // so much time of processors at once; 0: all that there are
}

// LeastMemory is the least that a limit can be: a program that is begun needs some, and so does who begins it.
const LeastMemory = 8 << 20

// Limited is where a limit holds. Its JSON is part of a Record.
type Limited struct {
	Limit
	// MemoryGroup and CPUGroup are folders of control groups; "": there is no such limit. With V2 they are one.
	MemoryGroup string `json:"memory_group,omitempty"`
	CPUGroup    string `json:"cpu_group,omitempty"`
	V2          bool   `json:"v2,omitempty"`
	// Why says why it does not hold, or only a part of it does.
	Why string `json:"why,omitempty"`

	homes map[string]string // of version 1: where the shim is but for a moment, by group
}

// folders are the groups that it has, each once.
func (l *Limited) folders() (out []string) {
	if l == nil {
		return nil
	}
	if l.MemoryGroup != "" {
		out = append(out, l.MemoryGroup)
	}
	if l.CPUGroup != "" && l.CPUGroup != l.MemoryGroup {
		out = append(out, l.CPUGroup)
	}
	return out
}

// HandedOver is the name of the groups that root makes for a user, below which the user can limit what is its own.
func HandedOver(uid uint32) string { return "berth-" + strconv.FormatUint(uint64(uid), 10) }

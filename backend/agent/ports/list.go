package ports

import (
	"context"

	"berth/backend/api"
	"berth/gpu"
	"berth/gpu/procs"
	"berth/gpu/procs/proc"
)

// hidden is said of what listens without a process that can be seen.
const hidden = "not visible (another user's)"

// list reads what is listened on.
func (s *service) list(ctx context.Context) (api.Ports, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, err := s.reader.Read()
	if found == nil && err != nil {
		return api.Ports{}, api.Errorf(api.CodeFailed, "%w", err)
	}
	out := api.Ports{Ports: make([]api.Port, 0, len(found)), Network: proc.Network()}
	if err != nil {
		out.Warnings = append(out.Warnings, err.Error())
	}
	var pids []int
	for _, l := range found {
		if len(l.PIDs) > 0 {
			pids = append(pids, l.PIDs[0])
		}
	}
	known, err := s.processes(ctx, pids)
	if err != nil {
		out.Warnings = append(out.Warnings, "the processes that listen can't be read: "+err.Error())
	}
	for _, l := range found {
		p := api.Port{Port: l.Port, Socket: l.Path, Processes: len(l.PIDs)}
		for _, a := range l.Addresses {
			p.Addresses = append(p.Addresses, a.String())
		}
		if l.UID >= 0 {
			p.User = s.table.User(l.UID)
		}
		switch {
		case len(l.PIDs) == 0:
			p.Note = hidden
		default:
			p.PID = l.PIDs[0]
			if k, ok := known[p.PID]; ok {
				p.Command, p.Owner, p.Note = k.Command, k.Owner, k.Note
				if k.User != "" {
					p.User = k.User
				}
			}
		}
		out.Ports = append(out.Ports, p)
	}
	return out, nil
}

// processes are those of the PIDs that still run; s.mu is held.
func (s *service) processes(ctx context.Context, pids []int) (map[int]gpu.Process, error) {
	if _, _, err := s.table.Scan(ctx, nil, false); err != nil { // forgets those that are gone
		return nil, err
	}
	list, err := s.table.Find(ctx, procs.Search{PIDs: pids})
	out := make(map[int]gpu.Process, len(list))
	for _, p := range list {
		out[p.PID] = p
	}
	return out, err
}

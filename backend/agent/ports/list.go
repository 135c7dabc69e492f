package ports

import (
	"context"
	"os"
	"path/filepath"

	"berth/backend/api"
	"berth/gpu"
	"berth/gpu/procs"
	"berth/gpu/procs/proc"
)

// What is said of what listens without a process that can be seen.
const (
	othersProcess = "not visible (another user's)"
	elsewhere     = "not visible (in another PID name space)"
)

// hidden says why a process of a user can't be seen.
func hidden(uid int) string {
	if own := os.Getuid(); own == 0 || uid == own {
		return elsewhere
	}
	return othersProcess
}

// own reports whether a unix socket is one of Berth's on this instance: nobody wants to see those of agent and shims.
func (s *service) own(path string) bool {
	dir := filepath.Dir(path)
	return path != "" && (dir == filepath.Dir(s.h.Socket) || dir == s.h.SpareDir())
}

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
		if s.own(l.Path) {
			continue
		}
		p := api.Port{Port: l.Port, Socket: l.Path, Processes: len(l.PIDs)}
		for _, a := range l.Addresses {
			p.Addresses = append(p.Addresses, a.String())
		}
		if l.UID >= 0 {
			p.User = s.table.User(l.UID)
		}
		switch {
		case len(l.PIDs) == 0:
			p.Note = hidden(l.UID)
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

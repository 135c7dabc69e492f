package uitest

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"berth/backend/api"
	"berth/backend/transport/forward"
	"berth/gpu"
	"berth/ui/screen"
)

// listening is the part of a Workspace that has to do with ports, which are put there by hand: nothing listens.
type listening struct {
	// PortsErr is what every agent's list fails with.
	PortsErr error

	ws *Workspace
	mu sync.Mutex
	of map[string]api.Ports // by the instance's id
}

// PutPorts says what listens on an instance.
func (l *listening) PutPorts(id string, p api.Ports) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of[id] = p
}

type portsOf struct {
	l   *listening
	ref string
}

// PortsOf returns what listens on an instance.
func (l *listening) PortsOf(ref string) screen.Ports { return portsOf{l, ref} }

// List implements screen.Ports.
func (p portsOf) List(context.Context) (api.Ports, error) {
	in, err := p.l.ws.real.Instance(asAda(), p.ref)
	if err != nil {
		return api.Ports{}, err
	}
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	if p.l.PortsErr != nil {
		return api.Ports{}, p.l.PortsErr
	}
	return p.l.of[in.ID], nil
}

// Open implements screen.Ports; nobody connects.
func (p portsOf) Open(context.Context, api.ForwardRequest) (*api.Stream, error) {
	return nil, api.Errorf(api.CodeUnreachable, "nothing is reached in a test")
}

// Forwards are those of a driven dashboard: nothing listens, so that the ports are always the same.
type Forwards struct {
	// Bastion has them listen on sockets; Taken are the ports that can't be had.
	Bastion bool
	Taken   map[int]string

	mu   sync.Mutex
	all  map[string][]forward.Here
	next int
	said map[string]func(error)
}

// Begin implements screen.Forwards.
func (f *Forwards) Begin(id string, o forward.Options) (forward.Local, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.all[id] {
		if h.Target == o.Target {
			return h.Local, nil
		}
	}
	var l forward.Local
	switch port := o.Local; {
	case f.Bastion:
		l.Address = "/run/user/1000/berth/forward/" + o.Instance + "-" + strconv.Itoa(o.Target.Port) + ".sock"
		l.SSH = fmt.Sprintf("ssh -L %d:%s -N ada@bastion.example.org", o.Target.Port, l.Address)
		l.URL = fmt.Sprintf("http://127.0.0.1:%d", o.Target.Port)
	default:
		if port == 0 || f.Taken[port] != "" {
			l.Taken = f.Taken[port]
			f.next++
			port = 40000 + f.next
		}
		l.Port, l.Address = port, "127.0.0.1:"+strconv.Itoa(port)
		if o.Socket == "" {
			l.URL = "http://" + l.Address
		}
	}
	if f.all == nil {
		f.all, f.said = map[string][]forward.Here{}, map[string]func(error){}
	}
	f.all[id] = append(f.all[id], forward.Here{Target: o.Target, Local: l})
	f.said[id] = o.Failed
	return l, nil
}

// Of implements screen.Forwards.
func (f *Forwards) Of(id string) []forward.Here {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]forward.Here(nil), f.all[id]...)
}

// End implements screen.Forwards.
func (f *Forwards) End(id string, t forward.Target) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, h := range f.all[id] {
		if h.Target == t {
			f.all[id] = append(f.all[id][:i:i], f.all[id][i+1:]...)
			return
		}
	}
}

// Connect says that connections went through the forwards to an instance, and that one failed if there is an error.
func (f *Forwards) Connect(id string, open, all int, err error) {
	f.mu.Lock()
	for i := range f.all[id] {
		f.all[id][i].Open, f.all[id][i].All = open, all
	}
	said := f.said[id]
	f.mu.Unlock()
	if err != nil {
		said(err)
	}
}

// Listening is what a notebook instance listens on.
func Listening() api.Ports {
	user := func(port, pid int, command string, o gpu.Owner, addresses ...string) api.Port {
		return api.Port{Port: port, PID: pid, Processes: 1, User: "ubuntu", Command: command, Owner: o, Addresses: addresses}
	}
	return api.Ports{Network: "there", Ports: []api.Port{
		{Port: 22, Addresses: []string{"0.0.0.0", "::"}, User: "root", Note: "not visible (another user's)"},
		{Port: 53, Addresses: []string{"127.0.0.53", "127.0.0.54"}, User: "systemd-resolve", Note: "not visible (another user's)"},
		user(6006, 4120, "/home/ubuntu/miniforge3/envs/pytorch/bin/python /home/ubuntu/miniforge3/envs/pytorch/bin/tensorboard "+
			"--logdir runs --port 6006", gpu.Owner{Kind: "terminal", ID: "3"}, "127.0.0.1"),
		{Port: 8000, PID: 5230, Processes: 5, User: "ubuntu", Command: "gunicorn: master [serve:app]",
			Owner: gpu.Owner{Kind: "job", ID: "14"}, Addresses: []string{"0.0.0.0"}},
		user(8888, 3911, "jupyter-lab --no-browser \x1b[31m資料\u202e", gpu.Owner{Kind: "job", ID: "12"}, "127.0.0.1", "::1"),
		user(9100, 880, "node_exporter", gpu.Owner{}, "10.0.4.12"),
		{Socket: "/run/user/1000/app/postgres/.s.PGSQL.5432", PID: 2211, Processes: 1, User: "ubuntu", Command: "postgres -D data",
			Owner: gpu.Owner{Kind: "container", ID: "c0ffee", Name: "pg"}},
	}}
}

// ManyPorts is an instance that listens on very many.
func ManyPorts(n int) api.Ports {
	out := api.Ports{}
	for i := range n {
		out.Ports = append(out.Ports, api.Port{Port: 10000 + i, PID: 20000 + i, Processes: 1, User: "ubuntu",
			Command: fmt.Sprintf("worker --index %d", i), Addresses: []string{"127.0.0.1"}})
	}
	return out
}

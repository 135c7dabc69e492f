package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"berth/backend/api"
)

// Opener opens a stream to what a forward leads to; it is called for each connection.
type Opener func(ctx context.Context) (*api.Stream, error)

// Ports is an agent that can be asked for connections; api.PortsClient is one.
type Ports interface {
	Open(ctx context.Context, q api.ForwardRequest) (*api.Stream, error)
}

// To returns the Opener of a target on an instance. name is what the instance is called in errors.
func To(name string, c Ports, t Target) Opener {
	return func(ctx context.Context) (*api.Stream, error) {
		st, err := c.Open(ctx, t.Request())
		return st, TooOld(name, err)
	}
}

// TooOld names the instance whose agent is too old to forward to; other errors stay as they are.
func TooOld(name string, err error) error {
	var e *api.Error
	if errors.As(err, &e) && e.Code == api.CodeVersion {
		return api.Errorf(api.CodeVersion, "%s", replaceAgent(e.Message, name)).WithHint("%s", e.Hint)
	}
	return err
}

// maxConns is how many connections of one forward may be open.
const maxConns = 1024

// Options say what is forwarded where.
type Options struct {
	Spec
	Instance string // its name
	// Place is where it listens.
	Place Place
	// Network is that of the instance's ports, as its agent says.
	Network string
	Open    Opener
	// Memory is that of all forwards of this program; nil: of this one alone.
	Memory *Memory
	// Failed is told why a connection failed, or broke off; nil: nobody is. It may be called at once from several
	// goroutines.
	Failed func(error)
}

// Forward listens here and passes each connection on to an instance. It ends with Serve's context, or by Close; nothing
// that happens to the line, the instance or a connection ends it.
type Forward struct {
	o     Options
	local Local
	l     net.Listener
	free  func() // what the listener leaves
	open  atomic.Int64
	taken atomic.Int64
}

// Listen begins to listen. Connections wait until Serve takes them.
func Listen(o Options) (*Forward, error) {
	if o.Memory == nil {
		o.Memory = NewMemory()
	}
	if o.Failed == nil {
		o.Failed = func(error) {}
	}
	f := &Forward{o: o, free: func() {}}
	var err error
	if o.Place.Dir == "" {
		f.l, f.local, err = listenTCP(o)
	} else {
		f.l, f.local, f.free, err = o.Place.listenUnix(o.Instance, o.Spec)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Local says where it listens.
func (f *Forward) Local() Local { return f.local }

// Spec is what it was asked for.
func (f *Forward) Spec() Spec { return f.o.Spec }

// Instance is the name of the instance that it leads to.
func (f *Forward) Instance() string { return f.o.Instance }

// Connections says how many are open, and how many there were with those.
func (f *Forward) Connections() (open, all int) { return int(f.open.Load()), int(f.taken.Load()) }

// Close ends the listening; Serve ends then, and with it the connections.
func (f *Forward) Close() error {
	err := f.l.Close()
	f.free()
	return err
}

// Serve takes connections until ctx ends or Close is called, and then ends those that are open. Its error says why the
// listening ended by itself.
func (f *Forward) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var conns sync.WaitGroup
	defer conns.Wait()
	defer cancel()
	defer f.Close()
	defer context.AfterFunc(ctx, func() { _ = f.l.Close() })()
	for pause := time.Duration(0); ; {
		conn, err := f.l.Accept()
		switch {
		case err == nil:
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		default: // too many open files, say: the listener lives
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			f.o.Failed(f.named(fmt.Errorf("taking a connection at %s: %w", f.local.Address, err)))
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			continue
		}
		pause = 0
		if f.open.Add(1) > maxConns {
			f.open.Add(-1)
			reset(conn)
			f.o.Failed(f.named(api.Errorf(api.CodeRefused, "%d connections are open already", maxConns)))
			continue
		}
		f.taken.Add(1)
		conns.Go(func() {
			defer f.open.Add(-1)
			if err := f.carry(ctx, conn); err != nil && ctx.Err() == nil {
				f.o.Failed(f.named(err))
			}
		})
	}
}

// errHere is the error of a connection that whoever is here has ended: nobody need be told.
var errHere = errors.New("the connection here was ended")

// carry passes one connection on.
func (f *Forward) carry(ctx context.Context, conn net.Conn) error {
	st, err := f.o.Open(ctx)
	if err != nil {
		reset(conn)
		return err
	}
	if err := call(ctx, st, conn, f.o.Memory); !errors.Is(err, errHere) {
		return err
	}
	return nil
}

// named says of which forward an error is.
func (f *Forward) named(err error) error {
	e := *api.AsError(err)
	e.Message = fmt.Sprintf("a connection to %s:%s failed: %s", f.o.Instance, f.o.Target, e.Message)
	return &e
}

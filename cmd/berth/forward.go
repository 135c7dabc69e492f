//go:build !front

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/backend/transport/forward"
)

func (a *app) forwardCmd() *cobra.Command {
	tcp := false
	cmd := &cobra.Command{
		Use: "forward NAME [LOCAL:]PORT…", Short: "Make ports of an instance ports of this computer",
		Long: "forward listens on 127.0.0.1 and passes each connection on to a port of the instance, or to a unix socket there\n" +
			"([LOCAL:]/PATH), through Berth's own line: no port of the instance needs to be open to the world. It goes on until it is\n" +
			"interrupted, over cuts of the line, too. berth help forward has the rest.",
		Example:           "  berth forward vision 8888\n  berth forward vision 9999:8888 6006\n  berth forward vision 5432:/run/postgresql/.s.PGSQL.5432",
		ValidArgsFunction: a.completeNames(1),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return api.Errorf(api.CodeUsage, "forward takes the name of an instance and a port, or several").
					WithHint("berth forward NAME [LOCAL:]PORT…")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var specs []forward.Spec
			for _, arg := range args[1:] {
				s, err := forward.Parse(arg)
				if err != nil {
					return err
				}
				specs = append(specs, s)
			}
			return a.forward(cmd.Context(), args[0], specs, tcp)
		},
	}
	cmd.Flags().BoolVar(&tcp, "tcp", false, "on a host that one has come to by SSH: listen on a port all the same, which all its users can reach")
	a.jsonFlag(cmd)
	return cmd
}

// forwarded is what --json prints of each forward.
type forwarded struct {
	Local    string `json:"local"`
	Remote   string `json:"remote"`
	Instance string `json:"instance"`
	URL      string `json:"url,omitempty"`
	SSH      string `json:"ssh,omitempty"`
	Taken    string `json:"taken,omitempty"`
}

func (a *app) forward(ctx context.Context, name string, specs []forward.Spec, tcp bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	ctx, stop := a.untilSignalled(ctx)
	defer stop()
	err = c.WithQuestions(ctx, func(ctx context.Context) error {
		agent := api.PortsOf(c.Agent(name))
		ports, err := agent.List(ctx) // also: whether there is such an instance, and a way to it
		if err != nil && !hasNoAgent(ctx, c, name, err) {
			return forward.TooOld(name, err)
		}
		said := failures{say: func(err error) { a.warn(err.Error()) }}
		place, memory := forward.PlaceHere(os.Getenv, a.home.Run, tcp), forward.NewMemory()
		var all []*forward.Forward
		defer func() {
			for _, f := range all {
				_ = f.Close()
			}
		}()
		for _, s := range specs {
			f, err := forward.Listen(forward.Options{Spec: s, Instance: name, Place: place, Network: ports.Network,
				Memory: memory, Failed: said.failed, Open: forward.To(name, agent, s.Target)})
			if err != nil {
				return err
			}
			all = append(all, f)
		}
		for _, f := range all {
			if err := a.sayForward(f, ports); err != nil {
				return err
			}
		}
		var serving sync.WaitGroup
		for _, f := range all {
			serving.Go(func() { _ = f.Serve(ctx) })
		}
		serving.Wait()
		return ctx.Err()
	})
	if a.exit != 0 && errors.Is(err, context.Canceled) {
		return nil // the signal says all
	}
	return err
}

// hasNoAgent reports whether what listens on an instance can't be listed because no agent can run there: plain SSH does
// for a forward.
func hasNoAgent(ctx context.Context, c *api.WorkspaceClient, name string, err error) bool {
	if api.AsError(err).Code != api.CodeUnreachable {
		return false
	}
	in, err := c.Instance(ctx, name)
	return err == nil && in.Agent != nil && in.Agent.State == "unavailable"
}

// untilSignalled returns a context that ends with a signal, for which the exit code is set.
func (a *app) untilSignalled(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	var wait sync.WaitGroup
	wait.Go(func() {
		select {
		case s := <-got:
			if n, ok := s.(syscall.Signal); ok {
				a.exit = 128 + int(n)
			}
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		signal.Stop(got)
		cancel()
		wait.Wait()
	}
}

// sayForward prints where a forward listens.
func (a *app) sayForward(f *forward.Forward, known api.Ports) error {
	l, s := f.Local(), f.Spec()
	if l.Taken != "" {
		a.warn(l.Taken + ": " + l.Address + " is used")
	}
	listened := slices.ContainsFunc(known.Ports, func(p api.Port) bool { return p.Port == s.Port })
	if !listened && s.Socket == "" && known.Ports != nil { // sockets are not all listed
		a.warn(fmt.Sprintf("nothing listens on port %d of %s yet", s.Port, f.Instance()))
	}
	if a.json {
		return a.printJSON(forwarded{Local: l.Address, Remote: s.Target.String(), Instance: f.Instance(), URL: l.URL,
			SSH: l.SSH, Taken: l.Taken})
	}
	_, err := fmt.Fprintf(a.out, "%s -> %s:%s\n", l.Address, f.Instance(), plaintext.Text(s.Target.String()))
	if err == nil && l.SSH != "" {
		_, err = fmt.Fprintf(a.out, "  on the computer that you came from: %s\n", l.SSH)
	}
	return err
}

// sayAgain is after how long the same failure is said again: a browser tries often.
const sayAgain = 10 * time.Second

// failures says why connections failed.
type failures struct {
	say  func(error)
	mu   sync.Mutex
	last string
	at   time.Time
}

func (f *failures) failed(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err.Error() == f.last && time.Since(f.at) < sayAgain {
		return
	}
	f.last, f.at = err.Error(), time.Now()
	f.say(err)
}

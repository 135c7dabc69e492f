package attach

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/muesli/cancelreader"
	"golang.org/x/term"

	"berth/backend/api"
)

// Ask puts a question on a terminal that nobody else reads, until it is answered or ctx ends. The terminal is always
// put back as it was, also before a signal that ends the program. Escape refuses the answer; ctrl-C, ctrl-D and a
// terminal that is gone are api.ErrInterrupted.
func Ask(ctx context.Context, tty *os.File, q api.Question) (api.Answer, error) {
	keys, err := cancelreader.NewReader(tty)
	if err != nil {
		return api.Answer{}, fmt.Errorf("reading keys from the terminal: %w", err)
	}
	defer keys.Close()
	old, err := term.MakeRaw(int(tty.Fd()))
	if err != nil {
		return api.Answer{}, fmt.Errorf("putting the terminal into raw mode: %w", err)
	}
	restore := sync.OnceFunc(func() { _ = term.Restore(int(tty.Fd()), old) })
	defer beforeEnd(restore)()
	defer restore() // before signals end the program again

	p := newPrompt(tty, false)
	done := p.begin(q)
	var wg sync.WaitGroup
	wg.Go(func() {
		for buf := make([]byte, 4096); ; {
			n, err := keys.Read(buf)
			p.feed(buf[:n])
			if err != nil {
				if !errors.Is(err, cancelreader.ErrCanceled) {
					p.hangUp()
				}
				return
			}
		}
	})
	a, err := p.wait(ctx, q, done)
	keys.Cancel()
	wg.Wait()
	return a, err
}

// beforeEnd has f called before a signal ends the program that nothing else may catch. stop ends that.
func beforeEnd(f func()) (stop func()) {
	got := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) {
			signal.Notify(got, s)
		}
	}
	end := func(s os.Signal) {
		f()
		signal.Stop(got)
		if s, ok := s.(syscall.Signal); ok {
			_ = syscall.Kill(os.Getpid(), s) // to whoever else catches it, else it ends the program
		}
	}
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-over:
		case s := <-got:
			end(s)
		}
	})
	return func() {
		signal.Stop(got)
		close(over)
		wg.Wait()
		select {
		case s := <-got: // it came at the same moment
			end(s)
		default:
		}
	}
}

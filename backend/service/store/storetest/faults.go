package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/backend/service/store"
)

// counter writes a number into an instance, a document and an operation, again and again, as one does whose store may
// fail: what it saw last is its own, and is read anew after a conflict.
type counter struct {
	*suite
	seen store.Change
}

// write writes n, however often it takes.
func (c *counter) write(n int) {
	c.Helper()
	for range 3 {
		next := clone(&c.seen)
		next.Instances[0].Notes = []string{strconv.Itoa(n)}
		next.Documents[0].Doc = json.RawMessage(strconv.Itoa(n))
		next.Operations[0].Boot = strconv.Itoa(n)
		next.Events = []*api.Event{event("a", strconv.Itoa(n))}
		was := clone(next)
		err := c.Apply(c.Context(), next)
		switch {
		case err == nil:
			c.seen = *next
			return
		case errors.Is(err, &api.Error{Code: api.CodeConflict}):
			if c.read(); c.seen.Operations[0].Boot == strconv.Itoa(n) {
				return // it was written when the store failed
			}
			c.Fatalf("%d is a conflict, and the store has %s", n, c.seen.Operations[0].Boot)
		}
		require.Equal(c, was, clone(next), "what fails changes nothing that is tried again")
	}
	c.Fatalf("%d can't be written", n)
}

// remove removes the instance, however often it takes.
func (c *counter) remove() {
	c.Helper()
	gone := &store.Change{RemoveInstances: []store.Removal{{ID: "a", Revision: c.seen.Instances[0].Revision}}}
	for range 3 {
		err := c.Apply(c.Context(), gone)
		if _, none := c.Instance(c.Context(), "a"); err == nil || errors.Is(none, &api.Error{Code: api.CodeNotFound}) {
			c.seen.Instances[0].Revision, c.seen.Documents[0].Revision = 0, 0
			return
		}
	}
	c.Fatal("it can't be removed")
}

// read reads what the store has.
func (c *counter) read() {
	c.Helper()
	in, err := c.Instance(c.Context(), "a")
	require.NoError(c, err)
	docs, err := c.Documents(c.Context(), "a")
	require.NoError(c, err)
	op, err := c.Operation(c.Context(), "o")
	require.NoError(c, err)
	c.seen = store.Change{Instances: []store.Instance{in}, Documents: docs, Operations: []store.Operation{op}}
}

// faults counts over a store that fails at each of its transactions, in each way: each number is written once.
func (s *suite) faults() {
	const count, transactions = 6, 8
	for _, f := range []Fault{{Err: ErrFull}, {Err: errors.New("the connection is lost")},
		{Err: errors.New("the answer is lost"), Written: true}} {
		for at := 1; at <= transactions; at++ {
			name := fmt.Sprintf("%s, written %t, at %d", f.Err, f.Written, at)
			on := &suite{T: s.T, open: s.open, dir: s.TempDir()}
			opened := s.open(s.T, on.dir)
			on.Store = &Failing{Store: opened, Fails: func(n int, _ []*store.Change) Fault {
				if n == at {
					return f
				}
				return Fault{}
			}}
			c := &counter{suite: on, seen: store.Change{Instances: []store.Instance{Instance("a", "one")},
				Documents:  []store.Document{document("a", "count", "", 0)},
				Operations: []store.Operation{operation("o", api.OpRunning, epoch)}}}
			for n := range count {
				c.write(n)
			}
			c.remove()
			c.write(count)
			has := on.state()
			require.Len(s, has.Events, count+1, name)
			for n, e := range has.Events {
				require.Equal(s, strconv.Itoa(n), e.Message, name)
				require.EqualValues(s, n+1, e.Seq, name)
			}
			require.EqualValues(s, 1, has.Instances[0].Revision, name)
			require.Equal(s, []string{fmt.Sprintf("a count 1 %d", count)}, has.Documents, name)
			require.EqualValues(s, count+1, has.Unfinished[0].Revision, name)
			require.NoError(s, opened.Close())
		}
	}
}

// writers count together in one document, each by what it saw: no step of any is lost.
func (s *suite) writers() {
	const writers, steps = 4, 10
	s.write(&store.Change{Instances: []store.Instance{Instance("a", "one")},
		Documents: []store.Document{document("a", "count", "0", 0)}})
	w := store.NewWriter(s.Store)
	defer w.Close()
	step := func() error {
		for {
			docs, err := s.Documents(s.Context(), "a")
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(string(docs[0].Doc))
			if err != nil {
				return err
			}
			docs[0].Doc = json.RawMessage(strconv.Itoa(n + 1))
			err = w.Write(&store.Change{Documents: docs}, nil)
			if !errors.Is(err, &api.Error{Code: api.CodeConflict}) {
				return err
			}
		}
	}
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range steps {
				if err := step(); err != nil {
					s.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(s, []string{fmt.Sprintf("a count %d %d", writers*steps+1, writers*steps)}, s.state().Documents)
}

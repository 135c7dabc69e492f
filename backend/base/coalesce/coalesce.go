// Package coalesce keeps a slow reader from holding up whoever writes for it, and from piling up what it no longer
// needs to know: of several values of one thing only the newest waits.
package coalesce

// Queue holds the newest value of each key, in the order in which keys began to wait. The zero value is empty. It has
// no lock: that is its owner's, who mostly guards more with it.
type Queue[K comparable, V any] struct {
	keys   []K
	values []V
	at     map[K]int
}

// Put lets v wait, in the place of what waits for k.
func (q *Queue[K, V]) Put(k K, v V) {
	if i, ok := q.at[k]; ok {
		q.values[i] = v
		return
	}
	if q.at == nil {
		q.at = map[K]int{}
	}
	q.at[k] = len(q.values)
	q.keys, q.values = append(q.keys, k), append(q.values, v)
}

// Waiting returns what waits for k, to be changed in place; nil where nothing does.
func (q *Queue[K, V]) Waiting(k K) *V {
	if i, ok := q.at[k]; ok {
		return &q.values[i]
	}
	return nil
}

// Drop removes what waits for k, if anything does. The last one takes its place.
func (q *Queue[K, V]) Drop(k K) {
	i, ok := q.at[k]
	if !ok {
		return
	}
	last := len(q.values) - 1
	q.keys[i], q.values[i] = q.keys[last], q.values[last]
	q.at[q.keys[i]] = i
	delete(q.at, k)
	q.keys, q.values = q.keys[:last], q.values[:last]
}

// Len is how many values wait.
func (q *Queue[K, V]) Len() int { return len(q.values) }

// Take empties the queue and returns what waited, which is the caller's.
func (q *Queue[K, V]) Take() []V {
	out := q.values
	q.keys, q.values = q.keys[:0], nil
	clear(q.at)
	return out
}

// Signal wakes one goroutine that receives from it. Signals sent before it wakes are one.
type Signal chan struct{}

// NewSignal returns a signal that has not been sent.
func NewSignal() Signal { return make(Signal, 1) }

// Send never waits.
func (s Signal) Send() {
	select {
	case s <- struct{}{}:
	default:
	}
}

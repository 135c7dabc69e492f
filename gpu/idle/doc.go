// Package idle counts in which minutes of a day the GPUs of a host did nothing.
//
// A Day is a set of minutes for each GPU, and not a sum, so that what was seen live and what the host's own history
// tells can be put together in any order and as often as one likes: nothing is counted twice. A minute in which
// nothing was measured is neither idle nor busy.
package idle

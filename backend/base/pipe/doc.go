// Package pipe makes pipes hold more than they do by default, for fewer and larger reads.
package pipe

// Size is what a pipe is made to hold, in bytes: the most that Linux gives an ordinary user.
const Size = 1 << 20

// Package attention is the screen of what wants somebody's attention over the whole fleet: the worst
// first, and what to do about it. A finding can be acknowledged, until it goes and comes again, or its
// rule muted on its instance for a while.
package attention

// Package renderer writes frames to the terminal. It takes the place of bubbletea's renderer, which
// wakes up sixty times a second to see whether there is something to write, waits for such a moment
// to write it, and rewrites a changed line whole.
//
// A Renderer sleeps until there is a frame, writes it at once (but not more than 120 a second), and
// writes only the part of a line that has changed. Where the terminal is slower than the frames, the
// newest is written and the ones between are left out.
package renderer

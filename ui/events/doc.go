// Package events is the screen of what happened, and who asked for it: the recorded events at first,
// then new ones as they happen. At its end it follows; scrolled up it stays.
package events

// Package wall is the screen of all GPUs of the fleet at once, one line each and side by side as many as
// fit: 256 at 200 columns and 60 lines. Those that want attention come first, then those that idle while
// they are paid for, then the busiest. The order is made anew at most every few seconds, so that it can
// be read.
package wall

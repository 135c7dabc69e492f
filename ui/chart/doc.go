// Package chart draws figures: cells whose height is a share, bars, and history graphs in braille dots
// with axes, units and a cursor. What was not measured is left blank, never drawn as zero: a measured
// zero has a dot. Shares are told by shape, so that they are legible without colours; where there is no
// character beyond ASCII, other shapes stand for them.
package chart

// Package inventory is the screen of what is really installed on an instance, or on two side by side, with
// what its set-up profiles promise and it does not keep.
package inventory

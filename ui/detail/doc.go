// Package detail is the screen of one instance: every figure that is known of it, the steps of its
// operation as they happen, what it does not promise, and what can't be done with it and why. Each
// value can be put under the cursor and copied.
package detail

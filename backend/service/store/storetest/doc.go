// Package storetest holds every store to the same: Run is what a store.Store must do, and Failing and Slow are stores
// that fail and that take their time.
package storetest

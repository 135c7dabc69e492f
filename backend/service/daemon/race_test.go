//go:build race

package daemon

func init() { instances = 3_000 } // each costs twenty times as much, and 3,000 take more than the old limit, too

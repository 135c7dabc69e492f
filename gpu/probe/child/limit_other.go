//go:build !linux

package child

func limitMemory() {}

package data

// UnknownLast compares two figures that may not be known: those that are, by compare; what is not known last.
func UnknownLast[T any](a, b *T, compare func(a, b T) int) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return compare(*a, *b)
}

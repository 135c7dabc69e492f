//go:build !linux

package wire

import "os"

// Splices returns 0: there is no such call here.
func (w *Writer) Splices(*os.File) int { return 0 }

// WriteWith is not called where Splices returns 0.
func (w *Writer) WriteWith(Kind, []byte, *os.File, int) error { return ErrTooLarge }

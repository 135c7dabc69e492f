package wire

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/backend/base/pipe"
)

// fewest is from how many bytes on that wait in a pipe they go from there without being copied.
const fewest = 32 << 10

// Splices returns how many bytes that wait in f WriteWith can send behind others without copying them: 0 where f is no
// pipe that holds many, or what w writes to can't take them so.
func (w *Writer) Splices(f *os.File) int {
	if w.unix == nil {
		return 0
	}
	if n := pipe.Waiting(f); n >= fewest {
		return n
	}
	return 0
}

// WriteWith sends one frame: p, and behind it n bytes that wait in the pipe f (see Splices), which nobody else reads.
// They are taken out of it by the kernel (splice(2)).
func (w *Writer) WriteWith(k Kind, p []byte, f *os.File, n int) error {
	if len(p)+n > MaxPayload {
		return ErrTooLarge
	}
	in, err := f.SyscallConn()
	if err != nil {
		return err
	}
	out, err := w.unix.SyscallConn()
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.header(k, len(p)+n)
	w.buf = append(w.buf, p...)
	if _, err := w.unix.Write(w.buf); err != nil {
		return err
	}
	var failed error
	control := in.Control(func(from uintptr) {
		err := out.Write(func(to uintptr) bool {
			for n > 0 {
				m, err := unix.Splice(int(from), nil, int(to), nil, n, unix.SPLICE_F_MOVE)
				switch {
				case err == syscall.EINTR:
				case err == syscall.EAGAIN:
					return false // until there is room
				case err != nil:
					failed = os.NewSyscallError("splice", err)
					return true
				case m == 0:
					failed = io.ErrUnexpectedEOF
					return true
				default:
					n -= int(m)
				}
			}
			return true
		})
		if failed == nil {
			failed = err
		}
	})
	if failed == nil {
		failed = control
	}
	return failed
}

package filecopy

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// extents calls each for the parts of an open file from an offset to size, in order: what holds data, and the holes
// between. Where the file system can't tell, all is data.
func extents(f *os.File, from, size int64, each func(off, n int64, hole bool) error) error {
	st, err := statOf(f)
	if err != nil {
		return err
	}
	sparse := st.Blocks*512 < size
	for off := from; off < size; {
		data, end := off, size
		if sparse {
			if data, end, err = nextData(f, off, size); err != nil {
				return err
			}
		}
		if data > off {
			if err := each(off, data-off, true); err != nil {
				return err
			}
		}
		if end > data {
			if err := each(data, end-data, false); err != nil {
				return err
			}
		}
		off = end
	}
	return nil
}

// nextData is where the data at or behind an offset begins and ends; both are size where there is none.
func nextData(f *os.File, off, size int64) (data, end int64, err error) {
	data, err = unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, size, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOTTY):
		return off, size, nil
	case err != nil:
		return 0, 0, &os.PathError{Op: "seek", Path: f.Name(), Err: err}
	}
	end, err = unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
	if err != nil || end <= data {
		end = size
	}
	return min(max(data, off), size), min(end, size), nil
}

// beginning adds the first n bytes of a file to a sum.
func beginning(f *os.File, n int64, s *summer, buf []byte) error {
	return extents(f, 0, n, func(off, n int64, hole bool) error {
		if hole {
			s.zeros(n)
			return nil
		}
		return eachChunk(f, off, n, buf, func(p []byte) error {
			s.add(p)
			return nil
		})
	})
}

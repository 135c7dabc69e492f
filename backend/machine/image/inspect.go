package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// Info is what an image file says of itself.
type Info struct {
	Format       string // "qcow2" or "raw"
	VirtualBytes int64  // the disk that a machine sees
	FileBytes    int64
	BackingFile  string // qcow2: the image that this one lies on
	Encrypted    bool   // qcow2
	ExternalData bool   // qcow2: the data are in another file
}

// Inspect reads the header of an image file. What is no qcow2 is raw.
func Inspect(path string) (Info, error) {
	f, err := os.Open(path)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return Info{}, err
	}
	if !fi.Mode().IsRegular() {
		return Info{}, fmt.Errorf("%s is no regular file", path)
	}
	info, err := inspect(f, fi.Size())
	if err != nil {
		return Info{}, fmt.Errorf("%s: %w", path, err)
	}
	return info, nil
}

// SelfContained returns an error for an image that refers to other files, or needs a key: one that came
// from outside could name any file of the host.
func (i Info) SelfContained() error {
	switch {
	case i.BackingFile != "":
		return fmt.Errorf("the image refers to another file (%.100q as its backing file)", i.BackingFile)
	case i.ExternalData:
		return errors.New("the image keeps its data in another file")
	case i.Encrypted:
		return errors.New("the image is encrypted")
	}
	return nil
}

const (
	qcowMagic        = "QFI\xfb"
	incompatExternal = 1 << 2
	maxVirtual       = 1 << 50 // 1 PiB
)

func inspect(r io.ReaderAt, size int64) (Info, error) {
	var h [112]byte
	n, err := r.ReadAt(h[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return Info{}, err
	}
	if n < 4 || string(h[:4]) != qcowMagic {
		if n < 512 && size < 512 {
			return Info{}, fmt.Errorf("with %d bytes it is no disk image", size)
		}
		return Info{Format: "raw", VirtualBytes: size, FileBytes: size}, nil
	}
	version := binary.BigEndian.Uint32(h[4:])
	if version != 2 && version != 3 {
		return Info{}, fmt.Errorf("a qcow image of version %d; only 2 and 3 can be used", version)
	}
	if n < 72 || version == 3 && n < 104 {
		return Info{}, errors.New("the qcow2 header is cut off")
	}
	info := Info{Format: "qcow2", FileBytes: size}
	virtual := binary.BigEndian.Uint64(h[24:])
	if virtual > maxVirtual {
		return Info{}, fmt.Errorf("the qcow2 header says %d bytes, which can't be", virtual)
	}
	info.VirtualBytes = int64(virtual)
	if bits := binary.BigEndian.Uint32(h[20:]); bits < 9 || bits > 21 {
		return Info{}, fmt.Errorf("the qcow2 header says clusters of 2^%d bytes, which can't be", bits)
	}
	info.Encrypted = binary.BigEndian.Uint32(h[32:]) != 0
	if version == 3 {
		info.ExternalData = binary.BigEndian.Uint64(h[72:])&incompatExternal != 0
	}
	if off := binary.BigEndian.Uint64(h[8:]); off != 0 {
		length := binary.BigEndian.Uint32(h[16:])
		if length == 0 || length > 1023 || off > uint64(size) || off+uint64(length) > uint64(size) {
			return Info{}, errors.New("the qcow2 header's backing file lies outside the image")
		}
		name := make([]byte, length)
		if _, err := r.ReadAt(name, int64(off)); err != nil {
			return Info{}, fmt.Errorf("reading the backing file's name: %w", err)
		}
		info.BackingFile = string(name)
	}
	return info, nil
}

package filecopy

import (
	"crypto/sha256"
	"hash"
	"sync"
)

// blockSize is how many bytes are hashed together. A copy is gone on with at a multiple of it.
const blockSize = 1 << 20

type sum256 = [sha256.Size]byte

var zeroBlock = sync.OnceValue(func() sum256 { return sha256.Sum256(make([]byte, blockSize)) })

// summer makes the sum of a file: SHA-256 over the SHA-256 of each of its blocks. So the sum of a hole costs next to
// nothing, and that of a beginning is at hand at each block.
type summer struct {
	whole, block hash.Hash
	n            int // bytes in block
}

func newSummer() *summer { return &summer{whole: sha256.New(), block: sha256.New()} }

func (s *summer) add(p []byte) {
	for len(p) > 0 {
		n := min(len(p), blockSize-s.n)
		s.block.Write(p[:n])
		p = p[n:]
		if s.n += n; s.n == blockSize {
			s.end()
		}
	}
}

// end ends the block.
func (s *summer) end() {
	s.whole.Write(s.block.Sum(nil))
	s.block.Reset()
	s.n = 0
}

// zeros adds n bytes of 0.
func (s *summer) zeros(n int64) {
	for n > 0 {
		if s.n == 0 && n >= blockSize {
			z := zeroBlock()
			s.whole.Write(z[:])
			n -= blockSize
			continue
		}
		part := min(n, 64<<10, int64(blockSize-s.n)) // to the end of the block, and then whole ones
		s.add(make([]byte, part))
		n -= part
	}
}

// sum is that of all that was added; nothing is added afterwards, unless it was whole blocks.
func (s *summer) sum() sum256 {
	if s.n > 0 {
		s.end()
	}
	return sum256(s.whole.Sum(nil))
}

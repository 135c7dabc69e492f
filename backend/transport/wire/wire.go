package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Kind says what a frame carries.
type Kind byte

// The kinds of frames. C→S is sent by the client of a stream, S→C by its server.
const (
	// Request is C→S, the first frame: the JSON request of the stream.
	Request Kind = 'R'
	// RequestPart is C→S, before Request: the beginning of a request that is too long for one frame. Parts, and
	// last the Request, are read as one. Capability 3 and newer.
	RequestPart Kind = 'r'
	// Started is S→C: the command runs or the terminal is attached; JSON of Start.
	Started Kind = 'S'
	// Stdin is C→S: bytes for the process.
	Stdin Kind = 'i'
	// StdinEOF is C→S: no more Stdin follows.
	StdinEOF Kind = 'I'
	// Stdout is S→C: bytes of standard output, or of the terminal.
	Stdout Kind = 'o'
	// StdoutEOF is S→C: no more Stdout follows, but Stdin is still taken. Only a forward's server sends it. Capability 4
	// and newer.
	StdoutEOF Kind = 'O'
	// Stderr is S→C: bytes of standard error.
	Stderr Kind = 'e'
	// Resize is C→S: JSON of Size.
	Resize Kind = 'z'
	// Signal is C→S: the signal's name without SIG, as text ("INT").
	Signal Kind = 'g'
	// Window is S→C: four bytes, big-endian: so many more bytes of Stdin may be sent. In a forward it is C→S, too, and
	// grants Stdout.
	Window Kind = 'w'
	// Detach is C→S: leave the terminal running and end the stream.
	Detach Kind = 'd'
	// Alive is C→S, empty: a client that promised it (Alive in its request) sends one every AliveEvery.
	Alive Kind = 'a'
	// Lingers is S→C: the command has ended, but others hold its output open; JSON of Lingering.
	Lingers Kind = 'l'
	// Exit is S→C, the last frame: JSON of ExitStatus.
	Exit Kind = 'x'
	// Error is S→C, the last frame: JSON of the API's error document.
	Error Kind = 'E'
)

const (
	// MaxPayload is the largest payload in bytes that a reader accepts.
	MaxPayload = 1 << 20
	// InitialWindow is how many bytes of Stdin a client may send before the first Window frame.
	InitialWindow = 1 << 20
	// CommandWindow is how many a server grants beside it once a command is sent some: together they are more than twice
	// what an SSH channel has on its way (2 MiB), so that on a long line it is the channel that decides.
	CommandWindow = 5 << 20
	// ForwardWindow is how many bytes each side of a forward may send before the first Window frame: of many
	// connections few move much at once.
	ForwardWindow = 256 << 10
	headerLen     = 5
)

// Size is the size of a terminal in cells.
type Size struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// Start tells the client of a stream what was started.
type Start struct {
	PID      int    `json:"pid,omitempty"`
	Terminal string `json:"terminal,omitempty"`
	// Exec is by what one asks later what has become of the command (api.AgentClient.ExecState). Older agents leave it
	// empty.
	Exec string `json:"exec,omitempty"`
	// Again says that somebody was attached to the terminal before: what it showed is sent again, and
	// is meant for a clean page.
	Again bool `json:"again,omitempty"`
}

// ExitStatus is how a process ended: Code is its exit code, or Signal the name (without SIG) of the
// signal that ended it, in which case Code is 128 + the signal's number. Reason is set where the
// process did not end by itself ("detached", "replaced").
type ExitStatus struct {
	Code   int    `json:"code"`
	Signal string `json:"signal,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// AliveEvery is how often a client that promised to be heard sends an Alive frame.
const AliveEvery = 2 * time.Second

// Lingering says which processes hold the output of a command open that has ended. It is empty where they can't be
// seen: they are another user's, or the system does not tell.
type Lingering struct {
	Holders []Holder `json:"holders"`
}

// Holder is a process that could still write.
type Holder struct {
	PID     int    `json:"pid"`
	Command string `json:"command"`
}

// String names the holders for people: "sleep 60 (process 17) and 2 more".
func (l Lingering) String() string {
	if len(l.Holders) == 0 {
		return "a process that can't be seen from here"
	}
	h := l.Holders[0]
	s := fmt.Sprintf("%.80s (process %d)", h.Command, h.PID)
	if n := len(l.Holders) - 1; n > 0 {
		s += fmt.Sprintf(" and %d more", n)
	}
	return s
}

// Keep makes the last payload its caller's own; the reader goes on with other memory, spare, which may be nil.
func (r *Reader) Keep(spare []byte) { r.buf = spare[:0] }

// Buffered is how many bytes can be read without waiting, as far as that is known.
func (r *Reader) Buffered() int {
	if b, ok := r.r.(interface{ Buffered() int }); ok {
		return b.Buffered()
	}
	return 0
}

// ErrTooLarge is returned for a frame whose payload exceeds MaxPayload.
var ErrTooLarge = errors.New("wire: frame too large")

// Reader reads frames. It is not safe for concurrent use.
type Reader struct {
	r   io.Reader
	hdr [headerLen]byte
	buf []byte
}

// NewReader returns a Reader on r, which should be buffered if frames are small.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next reads one frame. The payload is valid until the next call. It returns io.EOF at a clean end
// between frames and io.ErrUnexpectedEOF inside one.
func (r *Reader) Next() (Kind, []byte, error) {
	if _, err := io.ReadFull(r.r, r.hdr[:1]); err != nil {
		return 0, nil, err
	}
	if _, err := io.ReadFull(r.r, r.hdr[1:]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(r.hdr[1:])
	if n > MaxPayload {
		return 0, nil, fmt.Errorf("%w: kind %q, %d bytes", ErrTooLarge, r.hdr[0], n)
	}
	if cap(r.buf) < int(n) {
		r.buf = make([]byte, max(int(n), 4<<10))
	}
	p := r.buf[:n]
	if _, err := io.ReadFull(r.r, p); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return Kind(r.hdr[0]), p, nil
}

// Writer writes frames, each with one write to the underlying writer. It is safe for concurrent use.
type Writer struct {
	mu   sync.Mutex
	w    io.Writer
	unix *net.UnixConn // w, or what is below it, if that is one
	buf  []byte
}

// whole is from how many bytes on a payload is not copied behind its header: the kernel takes both at once.
const whole = 16 << 10

// NewWriter returns a Writer on w.
func NewWriter(w io.Writer) *Writer {
	out := &Writer{w: w}
	if below, ok := w.(interface{ NetConn() net.Conn }); ok {
		w = below.NetConn()
	}
	out.unix, _ = w.(*net.UnixConn)
	return out
}

// Write sends one frame; payloads above MaxPayload are refused with ErrTooLarge.
func (w *Writer) Write(k Kind, p []byte) error {
	if len(p) > MaxPayload {
		return ErrTooLarge
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.header(k, len(p))
	if w.unix != nil && len(p) >= whole {
		both := net.Buffers{w.buf, p}
		_, err := both.WriteTo(w.unix)
		return err
	}
	w.buf = append(w.buf, p...)
	_, err := w.w.Write(w.buf)
	return err
}

// header begins a frame in w.buf, whose payload has n bytes; w.mu is held.
func (w *Writer) header(k Kind, n int) {
	w.buf = binary.BigEndian.AppendUint32(append(w.buf[:0], byte(k)), uint32(n))
}

// WriteJSON sends v as the JSON payload of one frame.
func (w *Writer) WriteJSON(k Kind, v any) error {
	p, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("wire: encoding frame %q: %w", k, err)
	}
	return w.Write(k, p)
}

// WriteWindow grants n more bytes of Stdin.
func (w *Writer) WriteWindow(n uint32) error {
	var p [4]byte
	binary.BigEndian.PutUint32(p[:], n)
	return w.Write(Window, p[:])
}

// ParseWindow decodes the payload of a Window frame.
func ParseWindow(p []byte) (uint32, error) {
	if len(p) != 4 {
		return 0, fmt.Errorf("wire: window frame of %d bytes, want 4", len(p))
	}
	return binary.BigEndian.Uint32(p), nil
}

// DataWriter returns an io.Writer whose every Write becomes one or more frames of kind k.
func (w *Writer) DataWriter(k Kind) io.Writer { return dataWriter{w, k} }

type dataWriter struct {
	w *Writer
	k Kind
}

func (d dataWriter) Write(p []byte) (int, error) {
	n := 0
	for len(p) > 0 {
		c := p[:min(len(p), 256<<10)]
		if err := d.w.Write(d.k, c); err != nil {
			return n, err
		}
		n += len(c)
		p = p[len(c):]
	}
	return n, nil
}

package process

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// ToAgent is a shim's side of the line to its agent, which gives it one process after the other. Nothing is read while
// a process runs: an agent that is gone is noticed when the line is used again.
type ToAgent struct{ taken int }

// maxGiven is how many descriptors come with a process at most: its log, its standard ones, those of its GPUs.
const maxGiven = 36

// OpenLine opens the line that this shim was started with; nil: it was started by Start.
func OpenLine() *ToAgent {
	if _, err := unix.GetsockoptInt(readyFD, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		return nil
	}
	CloseOnExec(readyFD) // what is started gets nothing that this process happened to inherit
	return &ToAgent{}
}

// Next waits for the next process: it decodes its specification into spec, and returns its descriptors. From then on
// this process writes to the log that came with it. io.EOF is returned where none comes.
func (a *ToAgent) Next(spec any) ([]*os.File, error) {
	if a.taken == keepMost {
		return nil, io.EOF
	}
	if a.taken == 1 { // what is free ends even where its agent is stuck
		limit := unix.NsecToTimeval(int64(3 * freeFor))
		if err := unix.SetsockoptTimeval(readyFD, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
			return nil, err
		}
	}
	var line []byte
	var files []*os.File
	buf, oob := make([]byte, 8<<10), make([]byte, unix.CmsgSpace(maxGiven*4))
	for !bytes.HasSuffix(line, []byte{'\n'}) {
		n, oobn, flags, _, err := unix.Recvmsg(readyFD, buf, oob, unix.MSG_CMSG_CLOEXEC)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, os.NewSyscallError("recvmsg", err)
		case n == 0:
			return nil, io.EOF
		case flags&unix.MSG_CTRUNC != 0:
			return nil, errors.New("descriptors did not come through")
		}
		if line = append(line, buf[:n]...); len(line) > maxSpec {
			return nil, fmt.Errorf("the specification is longer than %d bytes", maxSpec)
		}
		given, err := received(oob[:oobn])
		if files = append(files, given...); err != nil {
			return nil, err
		}
	}
	if err := json.Unmarshal(line, spec); err != nil {
		return nil, fmt.Errorf("the shim got no specification: %w", err)
	}
	if len(files) == 0 {
		return nil, errors.New("the shim got no log")
	}
	for _, std := range []int{1, 2} {
		if err := unix.Dup3(int(files[0].Fd()), std, 0); err != nil {
			return nil, os.NewSyscallError("dup3", err)
		}
	}
	_ = files[0].Close()
	a.taken++
	return files[1:], nil
}

// received are the descriptors of a message.
func received(oob []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "given"))
		}
	}
	return files, err
}

// Say tells the agent, which may be gone.
func (a *ToAgent) Say(x Said) {
	b, err := json.Marshal(x)
	if err == nil {
		_, _ = unix.SendmsgN(readyFD, append(b, '\n'), nil, nil, unix.MSG_NOSIGNAL)
	}
}

package procfile

import (
	"bytes"
	"strconv"
	"strings"
)

// Mount is one line of /proc/self/mountinfo.
type Mount struct {
	ID, Parent int
	Device     string // "8:1": the same for all mounts of one file system
	Root       string // the folder of the file system that is mounted; "/" unless it is a part
	Point      string // where it is mounted
	Options    string
	Type       string // "ext4"
	Source     string // "/dev/sda1", "server:/export"
	Super      string // options of the file system
}

// Mounts reads "ID PARENT DEV ROOT POINT OPTIONS [FIELDS…] - TYPE SOURCE SUPEROPTIONS". Lines that are
// no such thing are left out.
func Mounts(b []byte) []Mount {
	var out []Mount
	for len(b) > 0 {
		var line []byte
		line, b = Line(b)
		left, right, ok := bytes.Cut(line, []byte(" - "))
		l, r := strings.Fields(string(left)), strings.Fields(string(right))
		if !ok || len(l) < 6 || len(r) < 2 {
			continue
		}
		id, err1 := strconv.Atoi(l[0])
		parent, err2 := strconv.Atoi(l[1])
		if err1 != nil || err2 != nil {
			continue
		}
		m := Mount{ID: id, Parent: parent, Device: l[2], Root: Unescape(l[3]), Point: Unescape(l[4]), Options: l[5],
			Type: Unescape(r[0]), Source: Unescape(r[1])}
		if len(r) > 2 {
			m.Super = r[2]
		}
		if strings.HasPrefix(m.Point, "/") {
			out = append(out, m)
		}
	}
	return out
}

package libvirttest

import (
	"encoding/xml"
	"os"
	"path/filepath"
)

// dropHalfStarted does, between a Kill and the next launch, what the hint of Berth's error tells the administrator of a
// host: libvirt 9.0 that was killed between a start's first status file and its qemu never releases that start again.
// No call ends it, not even destroy, and a libvirtd that comes back does not look at it, as no process is named.
func (d *Daemon) dropHalfStarted() {
	files, _ := filepath.Glob(filepath.Join(d.Dir, "run", "libvirt", "qemu", "run", "*.xml"))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			d.t.Errorf("reading a machine's status: %v", err)
			continue
		}
		var status struct {
			State string `xml:"state,attr"`
			PID   int    `xml:"pid,attr"`
		}
		if err := xml.Unmarshal(b, &status); err != nil || status.PID != 0 {
			continue
		}
		d.t.Logf("libvirtd was killed before %s had a qemu (%s): its status file is removed", filepath.Base(f), status.State)
		if err := os.Remove(f); err != nil {
			d.t.Error(err)
		}
	}
}

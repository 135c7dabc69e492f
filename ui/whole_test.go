package ui_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/gpu"
	"berth/ui/uitest"
)

// Two names of the longest kind that share all but their last letter.
const nameA, nameB = "gpu-lab-of-the-institute", "gpu-lab-of-the-institutf"

// TestNamesAreWhole looks at every screen that lists instances, from the width of a usual terminal on: names are shown
// whole, and no two rows read the same.
func TestNamesAreWhole(t *testing.T) {
	require.Len(t, nameA, 24)
	for _, z := range [][2]int{{80, 24}, {100, 30}, {120, 40}, {200, 60}} {
		list := uitest.Small(uitest.Epoch)
		list[0].Name, list[1].Name = nameA, nameB // train-1, with eight GPUs, and notebook
		list[1].Capabilities.Snapshots = true
		var past []api.Event
		for _, in := range list[:2] {
			past = append(past, api.Event{Time: uitest.Epoch, Level: "info", InstanceID: in.ID, Instance: in.Name,
				Message: "is now running, and that is told in a line that is too long for a narrow screen"})
		}
		d := uitest.Drive(uitest.Options{Width: z[0], Height: z[1], Look: uitest.Plain, Past: past}, list...)
		d.WS.Measure(uitest.Epoch)
		d.WS.PutFigures(figuresOf("train-1")) // what wants attention there is known by their old names
		d.WS.PutFigures(figuresOf("notebook"))
		d.Settle()
		both := func(keys ...string) {
			t.Helper()
			d.Press(keys...)
			s := strings.Join(d.Lines()[1:], "\n")
			require.Contains(t, s, nameA, "%v at %v", keys, z)
			require.Contains(t, s, nameB, "%v at %v", keys, z)
		}
		both()
		both("e")
		both("esc", "!")
		both("esc", "w")
		d.Press("esc", ":")
		d.Type("inventory " + nameA + " " + nameB)
		both("enter")
		d.Press("esc")
		for _, k := range []string{"enter", "f", "b", "i", "C"} {
			d.To(nameB)
			d.Press(k)
			require.Contains(t, d.Lines()[0], nameB, "%s at %v", k, z)
			d.Press("esc")
		}
		d.Close()
	}
}

// TestMountsReadDifferently gives a host disks whose mounts share a long beginning.
func TestMountsReadDifferently(t *testing.T) {
	for _, z := range [][2]int{{80, 24}, {120, 40}, {200, 60}} {
		d := topOf(t, "notebook", z[0], z[1])
		v := sampleOf("notebook")
		used := 50.0
		for _, m := range []string{"/mnt/disks/by-name/training-data-1", "/mnt/disks/by-name/training-data-2"} {
			v.Disks = append(v.Disks, gpu.Disk{Mount: m, UsedPercent: &used})
		}
		d.WS.PutSample("i-0002", v)
		d.Settle()
		seen := map[string]bool{}
		d.Press("tab", "tab")
		for range len(v.Disks) {
			row := d.Row()
			require.False(t, seen[row], "at %v: %s", z, row)
			seen[row] = true
			d.Press("j")
		}
	}
}

// TestMountsAreWholeWhereThereIsRoom has a long mount on a host whose disks don't grow.
func TestMountsAreWholeWhereThereIsRoom(t *testing.T) {
	const mount = "/mnt/disks/by-name/training-data-of-ada"
	d := topOf(t, "notebook", 120, 40)
	v := sampleOf("notebook")
	used := 50.0
	v.Disks = []gpu.Disk{{Mount: mount, UsedPercent: &used, Filesystem: "ext4", Device: "/dev/vdb"}}
	d.WS.PutSample("i-0002", v)
	d.Settle()
	require.Contains(t, d.Screen(), " "+mount+" ")
	require.Contains(t, d.Screen(), "ext4 on /dev/vdb")
}

// TestAttentionSaysWhatItIsAbout shows subjects whole at 80 columns.
func TestAttentionSaysWhatItIsAbout(t *testing.T) {
	d := measured(t, 80, 24)
	l := figuresOf("notebook")
	l.Attention[0].Subject = "/mnt/scratch-of-ada"
	d.WS.PutFigures(l)
	d.Settle()
	d.Press("!")
	require.Contains(t, d.Screen(), "  /mnt/scratch-of-ada  ")
}

// TestValuesAreWholeInDetails has a folder and a remark on reboots that are longer than the screen is wide.
func TestValuesAreWholeInDetails(t *testing.T) {
	list := uitest.Small(uitest.Epoch)
	list[1].Workdir = "/home/ada/" + strings.Repeat("a-long-name/", 8) + "the-end"
	list[1].Agent.AfterReboot = "comes back by itself: a systemd user unit with linger, which the administrator allowed for ada"
	for _, z := range [][2]int{{80, 24}, {120, 40}, {200, 60}} {
		d := uitest.Drive(uitest.Options{Width: z[0], Height: z[1], Look: uitest.Plain}, list...)
		d.To("notebook")
		d.Press("enter")
		var all strings.Builder
		for range 60 {
			all.WriteString(strings.Join(d.Lines(), "\n"))
			d.Press("j")
		}
		s := strings.Join(strings.Fields(all.String()), " ")
		require.Contains(t, s, "the-end", z)
		require.Contains(t, s, "for ada", z)
		d.Close()
	}
}

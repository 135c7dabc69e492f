package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"berth/gpu"
)

const mountinfo = `22 28 0:21 / /sys rw,nosuid - sysfs sysfs rw
23 28 0:22 / /proc rw - proc proc rw
24 28 0:5 / /dev rw,nosuid - devtmpfs udev rw,size=100k
26 28 0:24 / /run rw,nosuid - tmpfs tmpfs rw,size=100k
28 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw,errors=remount-ro
29 24 0:25 / /dev/shm rw - tmpfs tmpfs rw,inode64
30 28 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro
31 28 259:3 / /data\040two rw - xfs /dev/nvme1n1 rw,attr2
32 28 259:3 /sub /srv rw - xfs /dev/nvme1n1 rw,attr2
33 28 0:40 /@ /pool rw - btrfs /dev/sdb rw,subvol=/@
34 28 0:40 /@home /pool-home rw - btrfs /dev/sdb rw,subvol=/@home
35 28 0:50 / /share rw - nfs4 10.0.0.2:/export rw,vers=4.2
36 28 0:51 / /var/lib/docker/overlay2/abc/merged rw - overlay overlay rw,lowerdir=/x
37 28 259:2 /home/x /bind rw - ext4 /dev/nvme0n1p2 rw
38 28 259:4 / /old rw - ext4 /dev/sdc1 rw
39 38 259:5 / /old rw - ext4 /dev/sdd1 ro
40 38 259:6 / /old/inner rw - ext4 /dev/sde1 rw
41 28 0:60 / /mnt/win rw - cifs //server/share rw
42 28 0:61 / /net rw - autofs systemd-1 rw
43 26 259:7 / /run/media/u/stick rw - vfat /dev/sdf1 rw
44 28 259:8 / /a/b rw - ext4 /dev/sdg1 rw
45 28 259:9 / /a rw - ext4 /dev/sdh1 rw
47 28 259:10 / /var/lib/docker rw - ext4 /dev/sdi1 rw
48 47 0:70 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
49 26 0:71 / /run/user/1000 rw - tmpfs tmpfs rw
garbage
46 28
`

func TestVisibleMounts(t *testing.T) {
	got := map[string]string{}
	for _, m := range Visible(parseMountinfo([]byte(mountinfo))) {
		got[m.Point] = m.Source
	}
	require.Equal(t, map[string]string{
		"/": "/dev/nvme0n1p2", "/dev/shm": "tmpfs", "/data two": "/dev/nvme1n1", "/pool": "/dev/sdb",
		"/share": "10.0.0.2:/export",
		"/old":   "/dev/sdd1", "/mnt/win": "//server/share", "/run/media/u/stick": "/dev/sdf1", "/a": "/dev/sdh1",
		"/var/lib/docker": "/dev/sdi1",
	}, got)
	for _, m := range parseMountinfo([]byte(mountinfo)) {
		require.Equal(t, m.Type == "nfs4" || m.Type == "cifs", m.Network(), m.Point)
	}
	require.Equal(t, "rw,relatime,errors=remount-ro", parseMountinfo([]byte(mountinfo))[4].AllOptions())
}

func TestVisibleMountsOfAContainer(t *testing.T) {
	got := Visible(parseMountinfo([]byte(`100 90 0:99 / / rw - overlay overlay rw,lowerdir=/l1:/l2
101 100 0:100 / /proc rw - proc proc rw
102 100 259:2 /containers/x/hosts /etc/hosts rw - ext4 /dev/nvme0n1p2 rw
103 100 259:2 /containers/x/resolv /etc/resolv.conf rw - ext4 /dev/nvme0n1p2 rw
`)))
	require.Len(t, got, 2)
	require.Equal(t, "/", got[0].Point)
	require.Equal(t, "rw", got[0].AllOptions())
	// The single file is found out when it is asked, and not shown.
	r := New(Options{Mounts: func() ([]Mount, error) { return got, nil }, Stat: func(p string) (Space, error) {
		return Space{Total: 100, Free: 50, Available: 40, NotFolder: p != "/"}, nil
	}})
	d, err := r.Disks(t.Context())
	require.NoError(t, err)
	require.Len(t, d, 1)
	require.Equal(t, 56.0, *d[0].UsedPercent) // 50 of 90, rounded up
	require.EqualValues(t, 10, *d[0].Reserved)
}

func FuzzMountinfo(f *testing.F) {
	f.Add([]byte(mountinfo))
	f.Add([]byte(`1 1 0:1 / /\040\0x rw - t s` + "\n1 1 0:1 / / r - a b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		all := parseMountinfo(b)
		for _, m := range Visible(all) {
			require.True(t, strings.HasPrefix(m.Point, "/"))
			m.Network()
			m.AllOptions()
		}
	})
}

func TestHungFileSystemKeepsItsLastFigures(t *testing.T) {
	c := newClock()
	o := c.options("")
	mounts := []Mount{
		{ID: 1, Device: "1:1", Root: "/", Point: "/", Type: "ext4", Options: "rw"},
		{ID: 2, Device: "0:9", Root: "/", Point: "/share", Type: "nfs4", Source: "server:/x", Options: "rw"},
	}
	o.Mounts = func() ([]Mount, error) { return mounts, nil }
	var mu sync.Mutex
	calls, hang := 0, make(chan struct{})
	hung := false
	o.Stat = func(p string) (Space, error) {
		if p == "/" {
			return Space{Total: 1000, Free: 500, Available: 500}, nil
		}
		mu.Lock()
		calls++
		h := hung
		mu.Unlock()
		if h {
			<-hang
		}
		return Space{Total: 2000, Free: 100, Available: 100}, nil
	}
	r := New(o)
	share := func() gpu.Disk {
		t.Helper()
		d, err := r.Disks(t.Context())
		require.NoError(t, err)
		require.Len(t, d, 2)
		require.EqualValues(t, 500, *d[0].Used)
		require.Nil(t, d[0].StaleSince)
		return d[1]
	}
	d := share()
	require.EqualValues(t, 1900, *d.Used)
	require.True(t, d.Network)
	answered := c.wall

	mu.Lock()
	hung = true
	mu.Unlock()
	c.pass(networkEvery)
	require.Nil(t, share().StaleSince, "it is asked only now")
	c.pass(answerLimit)
	for range 50 { // it is asked once however long it takes
		d = share()
		require.NotNil(t, d.StaleSince)
		require.Equal(t, answered, *d.StaleSince)
		require.EqualValues(t, 1900, *d.Used)
		require.Nil(t, d.FullIn)
		c.pass(time.Minute)
	}
	called := func() int {
		mu.Lock()
		defer mu.Unlock()
		return calls
	}
	// The one who asks may not have come to it yet.
	require.Eventually(t, func() bool { return called() == 2 }, 2*time.Minute, time.Millisecond)
	mu.Lock()
	hung = false
	mu.Unlock()
	close(hang)
	require.Eventually(t, func() bool { return share().StaleSince == nil }, 2*time.Minute, time.Millisecond)

	// One that never answered says since when it was asked; one that fails is old too.
	mounts = append(mounts[:1:1], Mount{ID: 3, Device: "0:10", Root: "/", Point: "/dead", Type: "nfs", Options: "rw"})
	r.o.Stat = func(p string) (Space, error) {
		if p == "/dead" {
			return Space{}, &os.PathError{Op: "statfs", Path: p, Err: syscall.ESTALE}
		}
		return Space{Total: 1000, Free: 500, Available: 500}, nil
	}
	asked := c.wall
	require.Eventually(t, func() bool {
		d := share()
		return d.StaleSince != nil && d.StaleSince.Equal(asked) && d.Total == nil
	}, 2*time.Minute, time.Millisecond)
	require.Len(t, r.disks.mounted, 2)
}

func TestHungQuestionsAreBounded(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	var n int
	var mu sync.Mutex
	id := 0
	r := New(Options{
		Stat: func(string) (Space, error) { mu.Lock(); n++; mu.Unlock(); <-hang; return Space{}, errors.New("away") },
		// A hung share that is mounted again and again.
		Mounts: func() ([]Mount, error) {
			id++
			return []Mount{{ID: id, Point: "/x", Type: "nfs", Device: fmt.Sprint(id)}}, nil
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 * maxAsking {
		_, err := r.Disks(ctx)
		require.NoError(t, err)
	}
	require.EqualValues(t, maxAsking, r.disks.asking.Load())
}

// TestReallyHungMount mounts a FUSE file system whose program never answers.
func TestReallyHungMount(t *testing.T) {
	dir, fuse := hungMount(t)
	r := New(Options{})
	defer r.Close()
	var d *gpu.Disk
	require.Eventually(t, func() bool {
		all, err := r.Disks(t.Context())
		require.NoError(t, err)
		d = nil
		for i := range all {
			if all[i].Mount == dir {
				d = &all[i]
			}
		}
		require.NotEmpty(t, all)
		return d != nil && d.StaleSince != nil
	}, 2*time.Minute, 50*time.Millisecond)
	require.Nil(t, d.Total)
	require.NoError(t, unix.Close(fuse)) // the program dies: the kernel answers for it
	require.Eventually(t, func() bool {
		_, err := r.Disks(t.Context())
		require.NoError(t, err)
		return r.disks.asking.Load() == 0
	}, 2*time.Minute, 50*time.Millisecond)
}

func TestMountsComeAndGo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: to mount something")
	}
	dir := t.TempDir()
	r := New(Options{})
	defer r.Close()
	has := func() bool {
		all, err := r.Disks(t.Context())
		require.NoError(t, err)
		for _, d := range all {
			if d.Mount == dir {
				require.EqualValues(t, 4<<20, *d.Total)
				return true
			}
		}
		return false
	}
	require.False(t, has())
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("can't mount here: %v", err)
	}
	seen := has()
	require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH))
	require.True(t, seen, "the kernel says when the list changes")
	require.False(t, has())
}

func hungMount(t *testing.T) (dir string, fuse int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: to mount something")
	}
	fuse, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("needs FUSE: %v", err)
	}
	dir = t.TempDir()
	err = unix.Mount("hung:", dir, "fuse.sshfs", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse))
	if err != nil {
		_ = unix.Close(fuse)
		t.Skipf("can't mount here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir, fuse
}

// df asks the real one. -P keeps each on one line.
func df(t *testing.T, mount string) (total, used, available int64, percent float64, inodes string) {
	t.Helper()
	out, err := exec.Command("env", "LC_ALL=C", "df", "-B1", "--output=size,used,avail,pcent,ipcent", mount).Output()
	require.NoError(t, err)
	f := strings.Fields(strings.Split(strings.TrimSpace(string(out)), "\n")[1])
	num := func(s string) int64 {
		v, err := strconv.ParseInt(strings.TrimSuffix(s, "%"), 10, 64)
		require.NoError(t, err, s)
		return v
	}
	return num(f[0]), num(f[1]), num(f[2]), float64(num(f[3])), f[4]
}

// same compares with df until nobody wrote in between.
func same(t *testing.T, r *Reader, mount string) {
	t.Helper()
	for try := 0; ; try++ {
		t1, u1, a1, _, _ := df(t, mount)
		for _, d := range r.disks.mounted {
			d.next = 0
		}
		all, err := r.Disks(t.Context())
		require.NoError(t, err)
		total, used, available, percent, inodes := df(t, mount)
		if (t1 != total || u1 != used || a1 != available) && try < 20 {
			continue
		}
		for _, d := range all {
			if d.Mount != mount {
				continue
			}
			require.NotNil(t, d.Used, mount)
			if try < 20 && (*d.Used != used) {
				break
			}
			require.Equal(t, []int64{total, used, available}, []int64{*d.Total, *d.Used, *d.Available}, mount)
			require.Equal(t, percent, *d.UsedPercent, mount)
			if inodes == "-" {
				require.Nil(t, d.InodesUsed, mount)
			} else {
				require.Equal(t, inodes, fmt.Sprintf("%.0f%%", *d.InodesUsed), mount)
			}
			return
		}
		require.Less(t, try, 20, "%s is not in the list", mount)
	}
}

func TestAgainstDf(t *testing.T) {
	if _, err := exec.LookPath("df"); err != nil {
		t.Skip("needs df of coreutils")
	}
	out, err := exec.Command("env", "LC_ALL=C", "df", "-B1", "--output=target,fstype,size").Output()
	require.NoError(t, err)
	r := New(Options{})
	defer r.Close()
	shown := map[string]bool{}
	all, err := r.Disks(t.Context())
	require.NoError(t, err)
	for _, d := range all {
		shown[d.Mount] = true
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n")[1:] {
		f := strings.Fields(line)
		m := Mount{Point: f[0], Type: f[1]}
		if pseudo[m.Type] || full[m.Type] || m.Type == "efivarfs" || below(m.Point, "/run") || below(m.Point, "/sys") ||
			below(m.Point, "/var/lib") {
			continue
		}
		require.True(t, shown[m.Point], "df shows %s; we show %v", line, shown)
		same(t, r, m.Point)
	}
}

// TestRealFileSystems makes them small and fills them.
func TestRealFileSystems(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: to mount something")
	}
	for _, c := range []struct {
		name, mkfs, size, options string
	}{
		{"tmpfs", "", "", "size=4m,nr_inodes=100"},
		{"ext4", "mkfs.ext4 -q -F", "64M", ""},
		{"xfs", "mkfs.xfs -q -f", "320M", ""},
		{"btrfs", "mkfs.btrfs -q -f", "128M", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, source := t.TempDir(), "tmpfs"
			if c.mkfs != "" {
				args := strings.Fields(c.mkfs)
				if _, err := exec.LookPath(args[0]); err != nil {
					t.Skipf("needs %s", args[0])
				}
				source = filepath.Join(t.TempDir(), "image")
				require.NoError(t, exec.Command("truncate", "-s", c.size, source).Run())
				out, err := exec.Command(args[0], append(args[1:], source)...).CombinedOutput()
				require.NoError(t, err, "%s", out)
			}
			args := []string{"-t", c.name, source, dir}
			if c.options != "" {
				args = append([]string{"-o", c.options}, args...)
			} else {
				args = append([]string{"-o", "loop"}, args...)
			}
			if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
				t.Skipf("can't mount %s here: %s", c.name, out)
			}
			t.Cleanup(func() { require.NoError(t, exec.Command("umount", "-l", dir).Run()) })
			r := New(Options{})
			defer r.Close()
			same(t, r, dir)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "f"), make([]byte, 1<<20), 0o600))
			unix.Sync()
			same(t, r, dir)
			f, err := os.Create(filepath.Join(dir, "full"))
			require.NoError(t, err)
			for err == nil {
				_, err = f.Write(make([]byte, 1<<20))
			}
			require.ErrorIs(t, err, syscall.ENOSPC)
			_ = f.Close()
			unix.Sync()
			same(t, r, dir)
		})
	}
}

func TestGrowth(t *testing.T) {
	series := func(minutes int, f func(minute float64) float64) *growth {
		var g growth
		for i := range minutes {
			g.add(time.Duration(i)*time.Minute, f(float64(i)))
			g.add(time.Duration(i)*time.Minute+time.Second, 1e15) // more often than a minute counts for nothing
		}
		return &g
	}
	gb := 1e9
	g := series(300, func(m float64) float64 { return 100*gb + m*gb })
	require.InDelta(t, gb/60, *g.rate(), gb/6000)
	require.InDelta(t, 600, *g.fullIn(int64(10 * gb)), 6)
	require.Zero(t, *g.fullIn(-5))

	for at := 30.0; at < 300; at += 30 { // one download, wherever it is
		g = series(300, func(m float64) float64 {
			if m > at {
				return 150 * gb
			}
			return 100 * gb
		})
		require.Zero(t, *g.rate(), "at %v", at)
		require.Nil(t, g.fullIn(1))
		g = series(300, func(m float64) float64 {
			if m > at {
				return 20*gb + m*gb/10
			}
			return 100*gb + m*gb/10
		})
		require.InDelta(t, gb/600, *g.rate(), gb/3000, "after a clean-up it goes on as before")
	}
	// Checkpoints of 10 GB each half an hour are growth, not a jump.
	g = series(360, func(m float64) float64 { return float64(int(m)/30) * 10 * gb })
	require.InDelta(t, 10*gb/1800, *g.rate(), 2*gb/1800)
	require.Nil(t, series(9, func(m float64) float64 { return m * gb }).rate(), "too short to say")
	require.Nil(t, series(300, func(m float64) float64 { return -m }).fullIn(5))
	require.Nil(t, series(300, func(m float64) float64 { return m }).fullIn(int64(gb)), "not within a month")
	g = series(growthPoints+300, func(m float64) float64 { return m })
	require.LessOrEqual(t, len(g.points), growthPoints+1)

	// Known at once from what an earlier process measured.
	c := newClock()
	o := c.options("")
	o.Mounts = func() ([]Mount, error) { return []Mount{{ID: 1, Point: "/", Type: "ext4", Options: "rw"}}, nil }
	o.Stat = func(string) (Space, error) { return Space{Total: 1000e9, Free: 600e9, Available: 600e9}, nil }
	r := New(o)
	var at []time.Time
	var used []float64
	for i := 60; i > 0; i-- {
		at = append(at, c.wall.Add(-time.Duration(i)*time.Minute))
		used = append(used, 400e9-float64(i)*gb)
	}
	r.Seed("/", at, used)
	d, err := r.Disks(t.Context())
	require.NoError(t, err)
	require.InDelta(t, gb/60, *d[0].Growth, gb/6000)
	require.InDelta(t, 600*60, *d[0].FullIn, 360)
}

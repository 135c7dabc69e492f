//go:build vm

package libvirttest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTiny(t *testing.T)  { throughLife(t, Tiny, 4*time.Minute) }
func TestDeaf(t *testing.T)  { throughLife(t, Deaf, 4*time.Minute) }
func TestFast(t *testing.T)  { Long(t); throughLife(t, Fast, 4*time.Minute) }
func TestCloud(t *testing.T) { Long(t); throughLife(t, Cloud, 6*time.Minute) }

// TestCron sees that a line for reboots in the user's crontab is run, as the agent installs one.
func TestCron(t *testing.T) {
	Long(t)
	for _, name := range []string{Tiny, Fast} {
		t.Run(name, func(t *testing.T) {
			d := Start(t)
			v := define(t, d, GetGuest(t, name), "")
			require.NoError(t, v.l.DomainCreate(v.dom))
			c := v.dial(v.host, 2*time.Minute)
			require.NotEmpty(t, v.run(c, "crontab -l 2>&1 || true"))
			v.run(c, `(crontab -l 2>/dev/null; echo '@reboot echo came back >> $HOME/boots 2>&1') | crontab - && crontab -l | grep -q @reboot; sync`)
			c = v.reboot(c, 2*time.Minute)
			// The line is run once.
			require.Eventually(t, func() bool { return v.run(c, "cat ~/boots 2>/dev/null || true") == "came back" }, time.Minute,
				500*time.Millisecond)
		})
	}
}

package ui_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/ui/uitest"
)

// portsOf opens the ports of the notebook.
func portsOf(t *testing.T, o uitest.Options, p api.Ports) *uitest.Driver {
	t.Helper()
	o.Width, o.Height, o.Look = 120, 30, uitest.Plain
	d := uitest.Drive(o, uitest.Small(uitest.Epoch)...)
	t.Cleanup(d.Close)
	d.WS.PutPorts("i-0002", p)
	d.To("notebook")
	d.Press("P")
	d.Settle()
	return d
}

// portLine is the line of the screen that the cursor is on.
func portLine(d *uitest.Driver) string {
	for _, l := range d.Lines() {
		if strings.HasPrefix(l, "▌") {
			return l
		}
	}
	return ""
}

// TestAPortIsForwardedOpenedAndEnded, and stays forwarded when the screen is left.
func TestAPortIsForwardedOpenedAndEnded(t *testing.T) {
	d := portsOf(t, uitest.Options{}, uitest.Listening())
	d.Press("x")
	require.Contains(t, d.Screen(), "it is not forwarded")
	d.Press("/")
	d.Type("tensorboard")
	d.Press("enter", "enter")
	d.Settle()
	require.Contains(t, portLine(d), "127.0.0.1:6006")
	require.Contains(t, d.Screen(), "notebook:6006 is here as 127.0.0.1:6006")
	require.Empty(t, d.Opened)
	d.Press("o")
	d.Settle()
	require.Equal(t, []string{"http://127.0.0.1:6006"}, d.Opened)
	d.Press("y", "c")
	d.Settle()
	require.Equal(t, []string{"http://127.0.0.1:6006", "berth forward notebook 6006"}, d.Copied)
	d.Press("esc", "esc", "P")
	d.Settle()
	require.Contains(t, d.Screen(), "1 forwarded")
	d.Forwards.Connect("i-0002", 1, 3, api.Errorf(api.CodeUnreachable, "a connection to notebook:6006 failed: the line broke"))
	d.Pass(time.Second)
	require.Contains(t, d.Screen(), "a connection to notebook:6006 failed: the line broke")

	// What does not listen any more is still forwarded, and can be ended.
	d.WS.PutPorts("i-0002", api.Ports{})
	d.Pass(3 * time.Second)
	require.Contains(t, portLine(d), "6006")
	require.Contains(t, portLine(d), "nothing listens there now")
	d.Press("x")
	require.Contains(t, d.Screen(), "Nothing listens on notebook.")
	require.Empty(t, d.Forwards.Of("i-0002"))
}

// TestAPortThatIsTakenIsSaid, and a socket gets any port.
func TestAPortThatIsTakenIsSaid(t *testing.T) {
	d := portsOf(t, uitest.Options{NoBrowser: true}, uitest.Listening())
	d.Forwards.Taken = map[int]string{22: "port 22 of this computer is root's"}
	d.Press("enter")
	d.Settle()
	require.Contains(t, d.Screen(), "notebook:22 is here as 127.0.0.1:40001: port 22 of this computer is root's")
	d.Press("G", "o")
	require.Contains(t, d.Screen(), "a browser opens ports, no sockets")
	d.Press("enter")
	d.Settle()
	require.Contains(t, portLine(d), "127.0.0.1:40002")
	d.Press("y", "g", "j", "j", "o") // without a browser the link is shown
	d.Settle()
	require.Contains(t, d.Screen(), "http://127.0.0.1:6006")
	d.Press("y")
	d.Settle()
	require.Equal(t, []string{"127.0.0.1:40002", "http://127.0.0.1:6006"}, d.Copied)
	require.Empty(t, d.Opened)
}

// TestPortsOnABastion shows the line that leads there, and copies it.
func TestPortsOnABastion(t *testing.T) {
	d := portsOf(t, uitest.Options{}, uitest.Listening())
	d.Forwards.Bastion = true
	d.Press("G", "k", "k", "enter")
	d.Settle()
	const line = "ssh -L 8888:/run/user/1000/berth/forward/notebook-8888.sock -N ada@bastion.example.org"
	require.Contains(t, d.Screen(), "notebook:8888 from your computer")
	d.Press("y")
	d.Settle()
	require.Equal(t, []string{line}, d.Copied)
	require.Empty(t, d.Opened)
}

// TestPortsAreAskedForAgain while they are looked at: what listens now is shown, the cursor stays on its row, and an
// error leaves what is known.
func TestPortsAreAskedForAgain(t *testing.T) {
	all := uitest.Listening()
	d := portsOf(t, uitest.Options{}, api.Ports{Ports: all.Ports[4:]})
	require.Contains(t, portLine(d), "8888")
	d.WS.PutPorts("i-0002", all)
	d.Pass(3 * time.Second)
	require.Contains(t, d.Screen(), "7 listen")
	require.Contains(t, portLine(d), "8888", "the cursor stays")
	d.WS.PortsErr = api.Errorf(api.CodeUnreachable, "the line broke")
	d.Pass(3 * time.Second)
	require.Contains(t, d.Screen(), "The list may be old: the line broke")
	require.Contains(t, d.Screen(), "7 listen")
	d.WS.PortsErr = nil
	all.Warnings = []string{"the unix sockets can't be read"}
	d.WS.PutPorts("i-0002", all)
	d.Pass(6 * time.Second)
	require.NotContains(t, d.Screen(), "may be old")
	require.Contains(t, d.Screen(), "Not all is listed: the unix sockets can't be read")
	d.Press("S", "S", "S") // by command
	require.Contains(t, d.Screen(), "by command")
	require.Contains(t, d.Lines()[2], "22")
}

// TestVeryManyPorts are drawn and asked for again, and one is found.
func TestVeryManyPorts(t *testing.T) {
	d := portsOf(t, uitest.Options{}, uitest.ManyPorts(10000))
	require.Contains(t, d.Screen(), "10000 listen")
	d.Press("G")
	require.Contains(t, portLine(d), "19999")
	d.Press("/")
	d.Type("15432")
	d.Press("enter", "enter")
	d.Settle()
	require.Contains(t, portLine(d), "127.0.0.1:15432")
}

// A service of the queue is opened with one key: its port is forwarded, and the browser shows it.
func TestAServiceIsOpenedFromTheQueue(t *testing.T) {
	d := portsOf(t, uitest.Options{}, uitest.Listening())
	services := uitest.Serving(uitest.Epoch)
	d.WS.PutJobs("i-0002", services...)
	d.Press("esc", "Q")
	d.Settle()
	d.Press("g", "o")
	d.Settle()
	require.Len(t, d.Opened, 1)
	require.Contains(t, d.Screen(), "opened http://127.0.0.1:8000")
	d.Press("esc")
	d.Settle()
	d.Press("G", "o") // nothing listens on its port
	d.Settle()
	require.Contains(t, d.Screen(), "nothing listens on port 7860 of notebook")
	require.Len(t, d.Opened, 1)
}

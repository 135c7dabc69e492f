package ui

import (
	"fmt"
	"strings"

	"berth/backend/base/plaintext"
	"berth/ui/data"
	"berth/ui/screen"
	"berth/ui/text"
)

// maxNotice bounds a desktop notification, in bytes.
const maxNotice = 200

// ring tells of new critical findings, once: in the status line, and as the configuration says.
func (m *Model) ring(alarms []data.Alarm) {
	if len(alarms) == 0 {
		return
	}
	a := alarms[0]
	name := a.ID
	if r := m.e.Store.Row(a.ID); r != nil {
		name = r.Name
	}
	body := name + ", " + a.Finding.Subject + ": " + a.Finding.Text
	if n := len(alarms) - 1; n > 0 {
		body += fmt.Sprintf(" (and %d more)", n)
	}
	if m.toast.Text == "" || m.toast.Level == "info" {
		m.say(screen.Toast{Level: "warn", Text: "new, and ! shows what to do: " + body})
	}
	if m.hooks.Notify == nil {
		return
	}
	if s := notice(m.e.Config.Notify, body); s != "" {
		_ = m.hooks.Notify(s) // a terminal that is gone is noticed by the reader
	}
}

// notice is what makes a terminal ring or notify; "" for what is not known.
func notice(how, body string) string {
	body = text.Truncate(plaintext.Clean(body), maxNotice, "")
	switch how {
	case "bell":
		return "\a"
	case "osc9":
		return "\x1b]9;" + body + "\a"
	case "osc777":
		return "\x1b]777;notify;Berth;" + strings.ReplaceAll(body, ";", ",") + "\a"
	}
	return ""
}

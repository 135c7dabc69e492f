//go:build e2e

package main

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPortsInTheDashboard: what listens is listed with its owner, a key forwards it, bytes go through, and all of it
// ends with the dashboard.
func TestPortsInTheDashboard(t *testing.T) {
	w := newWorld(t)
	w.ok("create", "vision")
	port := listens(t, says("hello"))
	s := w.open(110, 30)
	s.sees("vision", "running")
	s.press("P")
	s.sees("PORT", "COMMAND", "listen")
	s.press("/")
	s.typed(fmt.Sprint(port))
	s.press("Enter")
	s.sees(fmt.Sprintf("%d at 127.0.0.1: process ", port))
	s.press("Enter")
	s.sees("1 forwarded", "shares the network of this computer")
	m := regexp.MustCompile(fmt.Sprintf(`→ %d\s+(127\.0\.0\.1:\d+)`, port)).FindStringSubmatch(s.text())
	require.NotNil(t, m, s.text())
	got, err := heard("tcp", m[1])
	require.NoError(t, err)
	require.Equal(t, "hello", got)
	s.sees("1 connection, 0 open now")
	s.press("x")
	s.gone("1 forwarded")
	_, err = heard("tcp", m[1])
	require.Error(t, err)
	s.press("Enter")
	s.sees("1 forwarded")
	m = regexp.MustCompile(fmt.Sprintf(`→ %d\s+(127\.0\.0\.1:\d+)`, port)).FindStringSubmatch(s.text())
	require.NotNil(t, m, s.text())
	s.press("Escape") // the filter
	s.gone(fmt.Sprintf("/%d", port))
	s.press("Escape")
	s.gone("› ports")
	got, err = heard("tcp", m[1])
	require.NoError(t, err)
	require.Equal(t, "hello", got)
	s.quit()
	_, err = heard("tcp", m[1])
	require.Error(t, err, "it ends with the dashboard")
}

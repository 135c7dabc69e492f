package forward

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
)

func TestParse(t *testing.T) {
	for arg, want := range map[string]Spec{
		"8888":              {8888, Target{Port: 8888}},
		"9999:8888":         {9999, Target{Port: 8888}},
		"0:8888":            {0, Target{Port: 8888}},
		"/run/a:b.sock":     {0, Target{Socket: "/run/a:b.sock"}},
		"9999:/run/a.sock":  {9999, Target{Socket: "/run/a.sock"}},
		"9999:~/a b.sock":   {9999, Target{Socket: "~/a b.sock"}},
		"~/a.sock":          {0, Target{Socket: "~/a.sock"}},
		"65535:1":           {65535, Target{Port: 1}},
		"9999:/run/x:y.sck": {9999, Target{Socket: "/run/x:y.sck"}},
	} {
		got, err := Parse(arg)
		require.NoError(t, err, arg)
		require.Equal(t, want, got, arg)
	}
	for _, arg := range []string{"", ":", "0", "8888:", ":8888", "65536", "-1", "+80", "8 0", "0x50", "8888:localhost:8888",
		"localhost:8888", "8888:0", "a", "8888:run.sock", "/", "/run/", "9999:/" + strings.Repeat("x", 107), "/a\x00b", "٣"} {
		_, err := Parse(arg)
		require.Equal(t, api.CodeUsage, api.AsError(err).Code, "%q", arg)
	}
}

func FuzzParse(f *testing.F) {
	for _, arg := range []string{"8888", "9999:8888", "0:1", "/run/a.sock", "1:/a:b", "1:2:3", "~/x", "99999", "\x00:1"} {
		f.Add(arg)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		s, err := Parse(arg)
		if err != nil {
			if api.AsError(err).Code != api.CodeUsage {
				t.Fatalf("%q: %v", arg, err)
			}
			return
		}
		if (s.Port == 0) == (s.Socket == "") || s.Port > 65535 || s.Local < 0 || s.Local > 65535 {
			t.Fatalf("%q is %+v", arg, s)
		}
		again, err := Parse(s.String())
		if err != nil || again != s {
			t.Fatalf("%q is %+v, and that is %q: %+v, %v", arg, s, s.String(), again, err)
		}
	})
}

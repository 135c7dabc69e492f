package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHomeInAHeader(t *testing.T) {
	for _, home := range []Home{{}, {ID: "0123", Name: "ada@laptop"}, {ID: "1", Name: "\"Ada L.\"\r\n@\u00e9tude: x"}} {
		h := http.Header{}
		SetHome(h, home)
		require.Equal(t, home, HomeOf(h))
		line, rest, _ := strings.Cut(HomeLine(home), "\r\n")
		require.Empty(t, rest, "it is one line")
		if home.ID != "" {
			require.Equal(t, HomeHeader+": "+h.Get(HomeHeader), line)
		}
	}
}

func FuzzHomeOf(f *testing.F) {
	for _, s := range []string{"", "a b", "%zz", "1 ada%40laptop", strings.Repeat("x", 200)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		home := HomeOf(http.Header{HomeHeader: {s}})
		if len(home.ID) > maxHome || len(home.Name) > maxHome {
			t.Fatalf("%q gave %+v", s, home)
		}
		h := http.Header{}
		SetHome(h, home)
		if again := HomeOf(h); home.ID != "" && again != home {
			t.Fatalf("%+v came back as %+v", home, again)
		}
	})
}

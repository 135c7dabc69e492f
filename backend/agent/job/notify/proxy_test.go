package notify

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAWebhookOverAProxy: the login environment says which.
func TestAWebhookOverAProxy(t *testing.T) {
	var got string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.String()
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(proxy.Close)
	h := Hook{URL: "http://hooks.invalid/TOKEN"}
	require.NoError(t, h.Tell(t.Context(), notice(), []string{"HTTP_PROXY=" + proxy.URL}, "/"))
	require.Equal(t, "http://hooks.invalid/TOKEN", got)
	err := h.Tell(t.Context(), notice(), []string{"HTTP_PROXY=" + proxy.URL, "no_proxy=.invalid"}, "/")
	require.ErrorContains(t, err, "not found", "not over the proxy")
	for _, bad := range []string{"http://SECRET:SECRET@127.0.0.1:1", "ftp://SECRET", "://SECRET", "http://%zzSECRET"} {
		err := h.Tell(t.Context(), notice(), []string{"http_proxy=" + bad}, "/")
		require.ErrorContains(t, err, "the login environment's proxy")
		require.NotContains(t, err.Error(), "SECRET")
		require.NotContains(t, err.Error(), "TOKEN")
	}
}

func TestWhatNeedsNoProxy(t *testing.T) {
	for _, x := range []struct {
		none, url string
		is        bool
	}{
		{"", "https://example.org", false}, {"", "http://localhost:8080/x", true}, {"", "http://127.0.0.2", true},
		{"", "http://[::1]:3", true}, {"*", "https://example.org", true}, {"example.org", "https://example.org", true},
		{"example.org", "https://a.example.org", true}, {"example.org", "https://anexample.org", false},
		{".example.org", "https://example.org", false}, {"x, *.Example.org", "https://a.example.ORG.", true},
		{"example.org:443", "https://example.org", true}, {"example.org:80", "https://example.org", false},
		{"10.0.0.0/8", "https://10.1.2.3", true}, {"10.0.0.0/8", "https://11.1.2.3", false},
		{"10.0.0.0/8", "https://ten.example.org", false}, {"10.0.0.1", "https://10.0.0.1:7", true},
		{"[fd00::1]:7", "https://[fd00::1]:7", true}, {"fd00::/8", "https://[fd00::1]", true}, {",.,", "https://a.b", false},
	} {
		u, err := url.Parse(x.url)
		require.NoError(t, err)
		require.Equal(t, x.is, direct(x.none, u), x)
	}
}

func FuzzProxies(f *testing.F) {
	f.Add("http://proxy.example.org:3128", "example.org,10.0.0.0/8", "https://a.example.org")
	f.Fuzz(func(t *testing.T, proxy, none, to string) {
		u, err := url.Parse(to)
		if err != nil {
			return
		}
		p, err := proxyOf([]string{"HTTPS_PROXY=" + proxy, "HTTP_PROXY=" + proxy, "NO_PROXY=" + none})(&http.Request{URL: u})
		if err == nil && p != nil {
			require.NotEmpty(t, p.Host)
		}
	})
}

package notify

import (
	"net/http"
	"net/http/httptest"
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

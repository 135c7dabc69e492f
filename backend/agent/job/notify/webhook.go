package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"
)

// post sends the notice to a webhook, over the proxy that the login environment names. Nothing of the address is in its
// errors, which those of net/http have.
func post(ctx context.Context, url string, n *Notice, env []string) error {
	body, err := n.json()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	req, err := http.NewRequestWithContext(limited, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return errors.New("its url can't be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "berth")
	req.Header.Set("Idempotency-Key", n.ID)
	tr := &http.Transport{Proxy: proxyOf(env), TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: Limit / 2, DisableKeepAlives: true, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10}
	defer tr.CloseIdleConnections()
	c := http.Client{Transport: tr,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Do(req)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return fmt.Errorf("its url did not answer within %v", Limit)
	case err != nil:
		return errors.New("its url " + why(err))
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // the answer counts, not what it says
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return fmt.Errorf("its url answered with HTTP status %d", res.StatusCode)
	}
	return nil
}

// why says in words of our own why a request failed.
func why(err error) string {
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var slow interface{ Timeout() bool }
	var op *net.OpError
	switch {
	case errors.Is(err, errProxy):
		return "can't be reached: the login environment's proxy can't be used"
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return "can't be reached over the login environment's proxy"
	case errors.As(err, &dns):
		return "names a host that is not found"
	case errors.As(err, &cert):
		return "has a certificate that is not to be trusted"
	case errors.As(err, &record), errors.As(err, &alert):
		return "speaks no TLS that goes"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refuses the connection"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "can't be reached from here"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "broke the connection off"
	case errors.As(err, &slow) && slow.Timeout():
		return "does not answer"
	}
	return "can't be reached"
}

// Backoff is how long after the n-th failed try (from 1) the next one comes.
func Backoff(n int) time.Duration {
	const first, most = 5 * time.Second, 10 * time.Minute
	if n > 8 {
		return most
	}
	return min(first<<(2*max(n-1, 0)), most)
}

// Tries is after how many failed tries it is given up: after a quarter of an hour.
const Tries = 6

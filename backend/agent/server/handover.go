package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"berth/backend/api"
	"berth/backend/base/version"
)

// handOverLimit bounds the question to an agent whether it makes way.
const handOverLimit = 5 * time.Second

// handleHandover lets a newer agent have lock and socket; this one stays until its streams end.
func (a *Agent) handleHandover(w http.ResponseWriter, r *http.Request) {
	var by version.Version
	if err := api.ReadJSON(r, &by); err != nil {
		api.WriteError(w, err)
		return
	}
	own := a.c.Version
	if !by.Newer(own) {
		api.WriteError(w, api.Errorf(api.CodeRefused,
			"the agent is of version %s (built %s) and makes way for a newer one only, not for %s (built %s)",
			own.Number, own.Built.Format(time.RFC3339), by.Number, by.Built.Format(time.RFC3339)))
		return
	}
	a.mu.Lock()
	was := a.draining
	a.draining = true
	a.mu.Unlock()
	if !was {
		a.drainParts() // the newer one reads the records from now on
		a.letGo(false)
	}
	api.WriteJSON(w, http.StatusOK, own)
	a.leave()
}

// handOver asks the agent on a socket to make way for a newer one.
func handOver(ctx context.Context, socket string, by version.Version) error {
	ctx, cancel := context.WithTimeout(ctx, handOverLimit)
	defer cancel()
	body, err := json.Marshal(by)
	if err != nil {
		return err
	}
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://berth/v1/handover", bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		var doc api.ErrorDocument
		if json.NewDecoder(res.Body).Decode(&doc) == nil && doc.Error != nil {
			return doc.Error
		}
		return fmt.Errorf("the agent answered %s", res.Status)
	}
	return nil
}

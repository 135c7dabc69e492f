//go:build !front

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/gpu/prom"
)

func (a *app) metricsCmd() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "metrics",
		Short: "The figures of all instances for Prometheus",
		Long: "metrics prints the figures of the fleet once, in Prometheus' text format: for node_exporter's textfile collector, say.\n" +
			"With --listen it serves them at /metrics until it is interrupted; anybody who reaches that address can read them, so it is on\n" +
			"this computer only unless another address is given. What means the same as a metric of dcgm-exporter has its name.",
		Example: "  berth metrics >/var/lib/node_exporter/berth.prom.new && mv /var/lib/node_exporter/berth.prom.new /var/lib/node_exporter/berth.prom\n  berth metrics --listen 127.0.0.1:9835",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if listen == "" {
				return c.Daemon().Metrics(cmd.Context(), a.out)
			}
			return a.serveMetrics(cmd.Context(), c, listen)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "serve them at this address, such as 127.0.0.1:9835")
	return cmd
}

// serveMetrics serves the fleet's figures until ctx ends.
func (a *app) serveMetrics(ctx context.Context, c *api.WorkspaceClient, address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return api.Errorf(api.CodeUsage, "--listen %s: %w", address, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		if err := c.Daemon().Metrics(r.Context(), &b); err != nil {
			http.Error(w, api.AsError(err).Message, http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", prom.ContentType)
		_, _ = b.WriteTo(w) // the scraper has gone
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "berth: the figures are at /metrics")
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	fmt.Fprintf(a.err, "berth: serving http://%s/metrics\n", l.Addr())
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return api.Errorf(api.CodeFailed, "serving metrics: %w", err)
	}
	return nil
}

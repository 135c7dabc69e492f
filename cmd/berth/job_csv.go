package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
	"time"

	"berth/backend/api"
	"berth/backend/base/plaintext"
	"berth/backend/base/shellquote"
)

// jobCSV prints jobs as CSV, page by page.
func (a *app) jobCSV(ctx context.Context, name string, q api.JobQuery, all bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	w := csv.NewWriter(a.out)
	if err := w.Write([]string{"id", "name", "state", "exit_code", "signal", "cause", "reason", "priority", "group", "attempt",
		"submitted_at", "started_at", "ended_at", "cpu_seconds", "peak_memory_bytes", "workdir", "command",
		"cost_usd", "gpu_seconds", "peak_gpu_memory_bytes", "gpu_energy_joules", "gpus"}); err != nil {
		return err
	}
	price := priceOf(ctx, c, name)
	_, err = eachPage(ctx, c, name, q, all, func(jobs []api.Job) error {
		withCost(jobs, price, time.Now())
		for i := range jobs {
			if err := w.Write(jobRecord(&jobs[i])); err != nil {
				return err
			}
		}
		w.Flush()
		return w.Error()
	})
	w.Flush()
	if err == nil {
		err = w.Error()
	}
	return err
}

// jobRecord is a job as a record of the CSV: times are in UTC, the command as a shell would take it.
func jobRecord(j *api.Job) []string {
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339Nano)
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	id, code, cost := "", "", ""
	if j.CostUSD != nil {
		cost = number(*j.CostUSD)
	}
	if j.ID != nil {
		id = *j.ID
	}
	if j.ExitCode != nil {
		code = strconv.Itoa(*j.ExitCode)
	}
	return []string{id, plaintext.Text(j.Name), string(j.State), code, j.Signal, j.Cause, plaintext.Text(j.Reason),
		strconv.Itoa(j.Priority), plaintext.Text(j.Group), strconv.Itoa(j.Attempt), at(j.SubmittedAt), at(j.StartedAt),
		at(j.EndedAt), number(j.CPUSeconds), strconv.FormatInt(j.PeakMemoryBytes, 10),
		plaintext.Text(j.Workdir), plaintext.Text(shellquote.Line(j.Command...)), cost,
		number(j.GPUSeconds), strconv.FormatInt(j.PeakGPUMemoryBytes, 10), number(j.GPUEnergyJoules),
		strings.Trim(fmt.Sprint(j.GPUs), "[]")}
}

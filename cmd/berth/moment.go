package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// moment reads a time, or how long before now it is.
func moment(s string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	span := s
	days := 0.0
	if before, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseFloat(before, 64)
		if err != nil || math.IsNaN(n) || math.Abs(n) > 36500 {
			return time.Time{}, fmt.Errorf("%.40q: a span such as 90m, 6h or 30d, or a time such as 2026-01-02T15:04:05Z", s)
		}
		if days, span = n, after; span == "" {
			span = "0s"
		}
	}
	d, err := time.ParseDuration(span)
	d += time.Duration(days * 24 * float64(time.Hour))
	if err != nil || d < 0 {
		return time.Time{}, fmt.Errorf("%.40q: a span such as 90m, 6h or 30d, or a time such as 2026-01-02T15:04:05Z", s)
	}
	return now.Add(-d), nil
}

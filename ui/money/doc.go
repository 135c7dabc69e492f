// Package money writes prices, sizes, units and GPUs as the dashboard and the verbs show them.
package money

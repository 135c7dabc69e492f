// Package money writes prices, sizes and GPUs as the dashboard shows them.
package money

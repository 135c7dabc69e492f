// Package prom writes figures in the text format of Prometheus (version 0.0.4). What means the same as a
// metric of dcgm-exporter has its name and unit (MiB, millijoules); the rest begins with berth_ and is in
// base units.
package prom

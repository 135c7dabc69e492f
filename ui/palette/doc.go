// Package palette is the command line of the dashboard: verbs by name, completed as they are typed,
// with the names that they take.
package palette

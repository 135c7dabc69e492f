// Package adopt is the form that takes in a machine that already exists: one that the user's ssh
// reaches, or this very computer with the user's own home.
package adopt

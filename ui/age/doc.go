// Package age writes lengths of time as the dashboard shows them, and says for how long the text
// stays true, so that the screen is drawn again only when something on it changes.
package age

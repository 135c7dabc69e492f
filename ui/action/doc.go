// Package action is what can be done to instances from any screen: whether it can be done now and why
// not, what is lost by it, the command line that does the same, and doing it.
package action

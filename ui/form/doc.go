// Package form has what forms and dialogs are typed into: a one-line Input, and a Form of fields
// (text, choice, switch) with one in focus. Nothing in it blinks, so that an open form is as quiet as
// any other screen.
package form

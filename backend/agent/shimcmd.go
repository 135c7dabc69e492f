package agent

// shimCommand is the command line of a terminal's shim: the small embedded one where this build has
// one, else this program in that part.
func shimCommand(a *Agent, id string) []string {
	if path := a.embeddedShim(); path != "" {
		return []string{path, id}
	}
	return Command(a.exe, "shim", id)
}

// embeddedShim writes the embedded shim out, once, and returns its path; "" where there is none or
// it can't be run here.
func (a *Agent) embeddedShim() string { return "" }

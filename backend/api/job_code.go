package api

// JobCode is which code a job's folder had when it was submitted, where that is in a git repository. Files that git
// doesn't track don't count.
type JobCode struct {
	Commit string `json:"commit"`
	Dirty  *bool  `json:"dirty"` // whether files are changed; null: it was not looked at
	// AtStart is the code when the newest run began, where that is another one.
	AtStart *JobCodeAtStart `json:"at_start,omitempty"`
}

// JobCodeAtStart is which code a job's folder had when its newest run began.
type JobCodeAtStart struct {
	Commit string `json:"commit"`
	Dirty  *bool  `json:"dirty"`
}

package main

import "berth/backend/api"

// codeRows say which code a job's folder had, and that it changed before the start.
func codeRows(c *api.JobCode) (rows [][]string) {
	if c == nil {
		return nil
	}
	rows = append(rows, []string{"code", codeWords(c.Commit, c.Dirty)})
	if at := c.AtStart; at != nil {
		rows = append(rows, []string{"", "it changed before the start: " + codeWords(at.Commit, at.Dirty)})
	}
	return rows
}

func codeWords(commit string, dirty *bool) string {
	s := "commit " + commit[:min(len(commit), 12)]
	switch {
	case dirty == nil:
		return s
	case *dirty:
		return s + ", with changes that are not committed"
	}
	return s + ", unchanged"
}

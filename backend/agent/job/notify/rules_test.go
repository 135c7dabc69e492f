package notify

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"berth/backend/api"
	"berth/queue"
)

const twoHooks = "[notify.chat]\nurl = 'https://TOKEN.example.org'\n[notify.mail]\ncommand = 'TOKEN'\n"

func TestRules(t *testing.T) {
	f, err := Load(write(t, twoHooks+`
[[rules]]
notify = "chat"
states = ["failed", "lost"]
[[rules]]
notify = ["mail", "chat"]
longer_than = "10m"
name = "train*"
[[rules]]
notify = "mail"
state = "cancelled"
group = "big"
`, 0o600))
	require.NoError(t, err)
	require.Empty(t, f.Wrong)
	require.Equal(t, Rule{Notify: []string{"chat"}, States: []queue.State{queue.Failed, queue.Lost}}, f.Rules[0])
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	job := func(state api.JobState, name, group string, took time.Duration) *api.Job {
		return &api.Job{State: state, Name: name, Group: group, StartedAt: at, EndedAt: at.Add(took)}
	}
	require.Equal(t, []string{"chat"}, f.Whom(job(api.JobFailed, "x", "", time.Second)))
	require.Equal(t, []string{"chat", "mail"}, f.Whom(job(api.JobLost, "training", "", time.Hour)), "once each")
	require.Equal(t, []string{"mail", "chat"}, f.Whom(job(api.JobSucceeded, "train", "", 10*time.Minute)))
	require.Empty(t, f.Whom(job(api.JobSucceeded, "train", "", 9*time.Minute)))
	require.Empty(t, f.Whom(job(api.JobSucceeded, "retrain", "", time.Hour)))
	require.Equal(t, []string{"mail"}, f.Whom(&api.Job{State: api.JobCancelled, Group: "big", EndedAt: at}), "it never ran")
	require.Empty(t, f.Whom(&api.Job{State: api.JobCancelled, Name: "train", EndedAt: at}))
	require.Equal(t, []string{"mail", "chat"}, f.Whom(&api.Job{State: api.JobSucceeded, Name: "train", SubmittedAt: at,
		EndedAt: at.Add(time.Hour), Elements: &api.Tally{}}), "an array")
}

// A rule that is wrong is told, with its number and without what it says, and loses nothing else.
func TestARuleThatIsWrong(t *testing.T) {
	for rule, want := range map[string]string{
		"states = ['failed']":                                 "whom to tell",
		"notify = 'nobody'":                                   "no [notify.nobody]",
		"notify = 'chat'\nstates = ['TOKEN']":                 "states: a job ends as one of [succeeded failed",
		"notify = 'chat'\nstates = ['running']":               "states: a job ends as one of",
		"notify = 'chat'\nlonger_than = 'TOKEN'":              "longer_than: a time is needed",
		"notify = 'chat'\nlonger_than = 600":                  "longer_than: a time is needed",
		"notify = 'chat'\nlonger_than = '-1h'":                "longer_than: a time is needed",
		"notify = 'chat'\ngroup = 3":                          "group: a text in quotes",
		"notify = []":                                         "notify: a text in quotes",
		"notify = ['chat', 3]":                                "notify: a text in quotes",
		"notify = 'chat'\nstaets = ['TOKEN']":                 `"staets": only notify, states`,
		"notify = 'chat'\nname = 'x'\n[rules.name2]\nx = 1\n": "name2",
	} {
		f, err := Load(write(t, twoHooks+"[[rules]]\nnotify = 'mail'\n[[rules]]\n"+rule+"\n[[rules]]\nnotify = 'chat'\n", 0o600))
		require.NoError(t, err, rule)
		require.Len(t, f.Hooks, 2)
		require.Len(t, f.Rules, 2, rule)
		require.Len(t, f.Wrong, 1, rule)
		require.True(t, strings.HasPrefix(f.Wrong[0], "rule 2: "), f.Wrong[0])
		require.Contains(t, f.Wrong[0], want)
		require.NotContains(t, f.Wrong[0], "TOKEN")
	}
	f, err := Load(write(t, "rules = 'TOKEN'\n"+twoHooks, 0o600))
	require.NoError(t, err)
	require.Len(t, f.Hooks, 2)
	require.Equal(t, []string{"rules: each is a table that begins with [[rules]]"}, f.Wrong)
	f, err = Load(write(t, twoHooks+strings.Repeat("[[rules]]\nnotify = 'chat'\n", 101), 0o600))
	require.NoError(t, err)
	require.Len(t, f.Rules, 100)
	require.Len(t, f.Wrong, 1)
}

func TestPatterns(t *testing.T) {
	for _, x := range []struct {
		pattern, s string
		is         bool
	}{{"train", "train", true}, {"train", "training", false}, {"train*", "training", true}, {"*", "", true}, {"?", "", false},
		{"?", "ä", true}, {"a*b*c", "axxbyyc", true}, {"a*b*c", "axxbyyd", false}, {"*/x", "a/b/x", true}, {"a**", "a", true},
		{"", "a", false}, {"*aab", "aaaab", true}, {"[a]", "a", false}} {
		require.Equal(t, x.is, like(x.pattern, x.s), x)
	}
}

package main

import (
	"context"
	"os"
	"strings"

	"berth/backend/api"
)

// readSecrets are the values of secrets by their names: those of this program's own variables, or what the user types,
// unseen.
func (a *app) readSecrets(ctx context.Context, names []string) (map[string][]byte, error) {
	values := map[string][]byte{}
	for _, name := range names {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			if name, _, cut := strings.Cut(name, "="); cut {
				return nil, api.Errorf(api.CodeUsage, "--secret takes the name of a variable, not its value: all users of this computer could "+
					"see it").WithHint("set it in the environment, and say --secret %.60s", name)
			}
			return nil, api.Errorf(api.CodeUsage, "--secret takes the name of a variable")
		}
		if v, ok := os.LookupEnv(name); ok {
			values[name] = []byte(v)
			continue
		}
		ask := a.answer()
		if ask == nil {
			return nil, api.Errorf(api.CodeNoAnswer, "the value of the secret %s can't be asked for: there is no terminal", name).
				WithHint("set it in the environment: a variable of that name is taken")
		}
		ans, err := ask(ctx, api.Question{Kind: "secret", Title: "The job's secret " + name, Text: "Its value (it is not shown):"})
		switch {
		case err != nil:
			return nil, err
		case ans.Refused:
			return nil, api.Errorf(api.CodeRefused, "the job was not submitted: its secret %s was not given", name)
		}
		values[name] = []byte(ans.Value)
	}
	return values, nil
}

package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize/english"

	"berth/backend/api"
	"berth/backend/base/plaintext"
)

// jobsKeys is how the keys of set begin that are of an instance's queue.
const jobsKeys = "jobs."

// countJobKeys is how many of KEY=VALUE arguments are of an instance's queue.
func countJobKeys(args []string) (n int) {
	for _, arg := range args {
		if strings.HasPrefix(arg, jobsKeys) {
			n++
		}
	}
	return n
}

// limitsRequest reads those KEY=VALUE arguments that are of an instance's queue.
func limitsRequest(args []string) (q api.QueueLimitsRequest, err error) {
	const hint = "berth set NAME jobs.slots=4 jobs.group.G=2 jobs.default_gpus=0; without a value it is as usual again"
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok {
			return q, api.Errorf(api.CodeUsage, "%q is not KEY=VALUE", arg).WithHint(hint)
		}
		group, isGroup := strings.CutPrefix(key, jobsKeys+"group.")
		least := 0 // a group of 0 waits
		gpus := key == jobsKeys+"default_gpus"
		if key == jobsKeys+"container_engine" {
			q.Engine = &value
			continue
		}
		switch {
		case gpus:
		case key == jobsKeys+"slots":
			least = 1
		case !isGroup || group == "":
			return q, api.Errorf(api.CodeUsage, "%q can't be set: what can is jobs.slots, jobs.group.G, jobs.default_gpus and jobs.container_engine",
				key).WithHint(hint)
		}
		var n *int
		if value != "" {
			v, err := strconv.Atoi(value)
			if err != nil || v < least || v > api.MostSlots {
				return q, api.Errorf(api.CodeUsage, "%s=%q: a number from %d to %d is needed", key, value, least, api.MostSlots).
					WithHint(hint)
			}
			n = &v
		}
		switch {
		case gpus && n == nil:
			q.DefaultGPUs = new(int)
			*q.DefaultGPUs = -1
		case gpus:
			q.DefaultGPUs = n
		case isGroup && q.Groups == nil:
			q.Groups = map[string]*int{group: n}
		case isGroup:
			q.Groups[group] = n
		case n == nil:
			q.Slots = new(int)
		default:
			q.Slots = n
		}
	}
	return q, nil
}

// setLimits changes how many jobs of an instance run at once.
func (a *app) setLimits(ctx context.Context, name string, q api.QueueLimitsRequest) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var v api.QueueLimits
	if err := c.WithQuestions(ctx, func(ctx context.Context) error {
		v, err = c.Agent(name).Jobs().SetLimits(ctx, q)
		return err
	}); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(v)
	}
	_, err = fmt.Fprintf(a.err, "%s runs %s\n", plaintext.Text(name), plaintext.Text(limitsText(&v)))
	return err
}

// printLimits prints how many jobs of an instance run at once, as set takes it.
func (a *app) printLimits(ctx context.Context, name string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var v api.QueueLimits
	if err := c.WithQuestions(ctx, func(ctx context.Context) error {
		v, err = c.Agent(name).Jobs().Limits(ctx)
		return err
	}); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(v)
	}
	fmt.Fprintf(a.out, "%sslots=%d\n", jobsKeys, v.Slots)
	fmt.Fprintf(a.out, "%sdefault_gpus=%d\n", jobsKeys, v.DefaultGPUs)
	if v.Engine != "" {
		fmt.Fprintf(a.out, "%scontainer_engine=%s\n", jobsKeys, plaintext.Text(v.Engine))
	}
	for _, g := range slices.Sorted(maps.Keys(v.Groups)) {
		fmt.Fprintf(a.out, "%sgroup.%s=%d\n", jobsKeys, plaintext.Text(g), v.Groups[g])
	}
	_, err = fmt.Fprintf(a.err, "%s runs %s\n", plaintext.Text(name), plaintext.Text(limitsText(&v)))
	return err
}

// limitsText says how many jobs run at once: "4 jobs at once; of group G 2".
func limitsText(v *api.QueueLimits) string {
	s := english.Plural(v.Slots, "job", "") + " at once"
	if v.Slots == v.UsualSlots {
		s += ", as usual"
	}
	for i, g := range slices.Sorted(maps.Keys(v.Groups)) {
		sep := ","
		if i == 0 {
			sep = "; of"
		}
		s += fmt.Sprintf("%s group %s %d", sep, g, v.Groups[g])
	}
	return s
}

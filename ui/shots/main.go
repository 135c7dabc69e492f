package main

import (
	_ "berth/ui/noquery"

	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"berth/backend/api"
	"berth/ui"
	"berth/ui/uitest"
)

func main() {
	out := flag.String("o", "shots", "the folder for the pictures")
	live := flag.Bool("live", false, "open the dashboard on a fleet in memory")
	n := flag.Int("n", -1, "how many instances it has (-1: a few of each kind)")
	busy := flag.Int("busy", 0, "so many changes a second")
	flag.Parse()
	var err error
	if *live {
		err = openLive(*n, *busy)
	} else {
		err = makeShots(*out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "shots:", err)
		os.Exit(1)
	}
}

func openLive(n, busy int) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var list []api.Instance
	if n >= 0 {
		list = uitest.Many(time.Now(), n)
	} else {
		list = uitest.Small(time.Now())
	}
	w := uitest.New(nil, list...)
	w.Step = 1500 * time.Millisecond
	w.Text = "[    0.000000] Linux version 6.1.0\n[    1.204511] nvidia: loading out-of-tree module\nlogin: "
	if busy > 0 && len(list) > 0 {
		go func() {
			t := time.NewTicker(time.Second / time.Duration(busy))
			defer t.Stop()
			for i := 0; ; i++ {
				select {
				case <-ctx.Done():
					return
				case <-t.C:
				}
				in := &list[i%len(list)]
				if in.State != api.StateStopping {
					in.State = api.StateStopping
				} else {
					in.State = api.StateRunning
				}
				w.Put(*in)
			}
		}()
	}
	return ui.Run(ctx, ui.Options{Workspace: w, Config: ui.Config{Mouse: true}})
}

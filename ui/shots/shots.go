package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/muesli/termenv"

	"berth/ui/theme"
	"berth/ui/uitest"
)

// look is one kind of terminal.
type look struct {
	name string
	o    theme.Options
	all  bool // pictures of every screen; otherwise of the first ones only
}

var looks = []look{
	{"dark", theme.Options{Profile: termenv.TrueColor, Dark: true}, true},
	{"light", theme.Options{Profile: termenv.TrueColor}, true},
	{"nocolor", theme.Options{Profile: termenv.TrueColor, Dark: true, NoColor: true}, true},
	{"16", theme.Options{Profile: termenv.ANSI, Dark: true}, false},
	{"16light", theme.Options{Profile: termenv.ANSI}, false},
	{"256", theme.Options{Profile: termenv.ANSI256, Dark: true}, false},
	{"ascii", theme.Options{Profile: termenv.ANSI256, Dark: true, ASCII: true}, false},
}

var sizes = [][2]int{{80, 24}, {120, 40}, {200, 60}}

// makeShots writes a picture of every screen at every size and look.
func makeShots(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	n := 0
	for _, lk := range looks {
		r, err := newRaster(lk.o.Dark)
		if err != nil {
			return err
		}
		for i, sc := range uitest.Scenes() {
			if !lk.all && i > 3 {
				break
			}
			for _, z := range append(sizes[:3:3], [2]int{40, 10}) {
				if z[0] == 40 && lk.name != "dark" {
					continue
				}
				d := sc.Open(uitest.Options{Width: z[0], Height: z[1], Look: lk.o})
				name := fmt.Sprintf("%s-%s-%dx%d.png", sc.Name, lk.name, z[0], z[1])
				err := r.save(filepath.Join(dir, name), d.M.View(), z[0], z[1])
				d.Close()
				if err != nil {
					return err
				}
				n++
			}
		}
	}
	fmt.Println(n, "pictures in", dir)
	return nil
}

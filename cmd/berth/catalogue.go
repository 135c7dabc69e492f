package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"berth/backend/api"
	"berth/ui/money"
)

func (a *app) sizesCmd() *cobra.Command {
	var backend string
	cmd := &cobra.Command{
		Use: "sizes", Short: "What sizes can be had, and what they cost", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := c.Sizes(cmd.Context(), backend)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			rows := [][]string{{"SIZE", "BACKEND", "VCPUS", "MEMORY", "DISK", "GPUS", "PRICE", ""}}
			for _, s := range list {
				rows = append(rows, []string{s.Name, s.Backend, fmt.Sprint(s.VCPUs), money.Size(s.MemoryBytes),
					money.Size(s.DiskBytes), gpusText(s.GPUs), money.PerHour(s.PriceUSD), defaultMark(s.Default, s.Description)})
			}
			return table(a.out, rows)
		},
	}
	cmd.Flags().StringVar(&backend, "backend", "", "only this backend")
	a.jsonFlag(cmd)
	a.completeBackend(cmd)
	return cmd
}

func (a *app) imagesCmd() *cobra.Command {
	var backend string
	cmd := &cobra.Command{
		Use: "images", Short: "What instances can be made from", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := c.Images(cmd.Context(), backend)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			rows := [][]string{{"IMAGE", "BACKEND", "ARCH", "USER", "CACHED", ""}}
			for _, im := range list {
				rows = append(rows, []string{im.Name, im.Backend, orDash(im.Arch), orDash(im.User), cachedText(&im),
					defaultMark(im.Default, im.Description)})
			}
			return table(a.out, rows)
		},
	}
	cmd.Flags().StringVar(&backend, "backend", "", "only this backend")
	a.jsonFlag(cmd)
	a.completeBackend(cmd)
	return cmd
}

func defaultMark(def bool, text string) string {
	if def && text != "" {
		return "(default) " + text
	}
	if def {
		return "(default)"
	}
	return text
}

// cachedText says whether an image is on the backend's side already, and how large it is there.
func cachedText(im *api.Image) string {
	if !im.Cached {
		return dash
	}
	if im.SizeBytes == 0 {
		return "yes"
	}
	return money.Size(im.SizeBytes)
}
